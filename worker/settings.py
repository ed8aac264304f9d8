"""What can be set on a worker: names, types and bounds in one place.

Knows nothing of how the settings are used, nor of where they come from: code, command line or environment.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ..protocol.limits import (
    CONCURRENCY_MAX,
    HEARTBEAT_INTERVAL_S,
    SILENCE_S_MAX,
    WEIGHT_DEFAULT,
    WEIGHT_MAX,
    WEIGHT_MIN,
)
from ..protocol.messages import NAME_RULE, Labels, Name
from ..transport.settings import LinkSettings
from . import limits


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one worker.

    `name`: under which the broker knows it; None: one is made of host, process id and chance. `concurrency`: slots.
    `weight`: its share relative to other workers. `labels`: what requests may be targeted by. `canary`: the one
    of its commands that the broker may call to see that it works. `encoding`: JSON by default, because most requesters
    speak it, and between equals the broker passes `data` byte for byte.
    `grace_s`: seconds that running handlers are given when it stops. `thread_count`, `process_count`: places for
    handlers that run in threads and processes; None: one for each slot, at most 128 threads and a process a core.
    """

    name: Name | None = None
    concurrency: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)] = limits.CONCURRENCY_DEFAULT
    weight: Annotated[float, Meta(ge=WEIGHT_MIN, le=WEIGHT_MAX)] = WEIGHT_DEFAULT
    labels: Labels = {}
    canary: Name | None = None
    encoding: Literal["json", "msgpack"] = "json"
    grace_s: Annotated[float, Meta(ge=0, le=limits.GRACE_S_MAX)] = limits.GRACE_S_DEFAULT
    thread_count: Annotated[int, Meta(ge=1, le=limits.THREAD_COUNT_MAX)] | None = None
    process_count: Annotated[int, Meta(ge=1, le=limits.PROCESS_COUNT_MAX)] | None = None


LINK_SETTINGS = LinkSettings(
    message_size_bytes_max=limits.INCOMING_SIZE_BYTES_MAX,
    heartbeat_interval_s=HEARTBEAT_INTERVAL_S,
    silence_s_max=SILENCE_S_MAX,
)
"""The bounds of a worker's link to its broker."""


def settings_from(values: Mapping[str, object]) -> WorkerSettings:
    """Check `values` against the bounds. Raises ValueError, whose text names the setting and the bound."""
    try:
        return msgspec.convert(values, WorkerSettings)
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at ")
        if "matching regex" in what:
            what = NAME_RULE
        raise ValueError(f"{path.removeprefix('$.').removesuffix('[...]')}: {what}") from None
