"""The settings of a worker, declared once for its code and its operator.

`Worker(...)` takes the fields of WorkerSettings as keyword arguments. A worker program is started with WorkerOptions,
which override what the code says. Imports only what the command line needs for `--help`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..configuration.kinds import Choice, Dictionary, Kind, Number, Switch, Text, Whole
from ..configuration.schema import Table, setting, shown
from ..credentials.settings import (
    ca_setting,
    certificate_setting,
    insecure_skip_verify_setting,
    key_setting,
    token_file_setting,
)
from ..program.device import GIVEN_FACTS_COUNT_MAX
from ..protocol import limits as wire
from ..transport.settings import LinkSettings
from ..transport.url_setting import BROKER_URL, check_tls
from . import limits

BROKER_URL_DEFAULT: Final = "ws://localhost:8765"
"""A broker on this machine, on its default worker port."""


def _check_name(name: str) -> None:
    from ..protocol.field_types import NAME_PATTERN, NAME_RULE  # noqa: PLC0415  loads msgspec

    if re.search(NAME_PATTERN, name) is None:
        raise ValueError(NAME_RULE)


_NAME: Final = Text(wire.NAME_LENGTH_MAX, length_min=1, check=_check_name)
_LABEL: Final = Text(wire.LABEL_LENGTH_MAX)
_FACT: Final = Text(wire.DEVICE_FACT_LENGTH_MAX)


def _of_module(default: Any, kind: Kind, help: str, otherwise: str = "", **facts: Any) -> Any:
    """A setting that the operator may override. `otherwise`: words for the default."""
    return setting(
        default, kind, help, instead=f"the module's, else {otherwise or shown(kind, default)}", **facts
    )


def _in_code(default: Any, kind: Kind, help: str) -> Any:
    """A setting that only the module has, because it depends on the handlers."""
    return setting(default, kind, help, key=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The settings of one worker. Use `checked` to make them from values that may be out of bounds."""

    name: str | None = _of_module(
        None, _NAME, "Name of the worker, unique at the broker.", "host, process id and random digits"
    )
    concurrency: int = _of_module(
        limits.CONCURRENCY_DEFAULT, Whole(1, wire.CONCURRENCY_MAX), "Slots: assignments at once."
    )
    weight: float = _of_module(
        wire.WEIGHT_DEFAULT,
        Number(wire.WEIGHT_MIN, wire.WEIGHT_MAX),
        "Share of the requests, relative to other workers.",
    )
    labels: Mapping[str, str] | None = _of_module(
        None,
        Dictionary(_LABEL, _LABEL, wire.LABELS_COUNT_MAX),
        "Label that requests can target. May be repeated.",
        "none",
        option="--label",
    )
    device: Mapping[str, str] | None = _in_code(
        None,
        Dictionary(_FACT, _FACT, GIVEN_FACTS_COUNT_MAX),
        "Facts for people who look at the broker's connections, besides host, system, Python, process and version.",
    )
    canary: str | None = _of_module(
        None,
        _NAME,
        "Command that the broker may call, without data, to check that the worker works.",
        "none",
    )
    encoding: Literal["json", "msgpack"] = _of_module(
        "json", Choice(("json", "msgpack")), "Encoding of messages."
    )
    grace_s: float = _of_module(
        limits.GRACE_S_DEFAULT,
        Number(0, limits.GRACE_S_MAX, "seconds"),
        "How long running handlers may take to finish when the worker is stopped.",
        key="grace",
    )
    log_handler_errors: bool = _of_module(
        False,
        Switch(),
        "Log what the exceptions of handlers say, and not only where and which; it may hold data of requests. --reload "
        "implies it.",
    )
    thread_count: int | None = _in_code(
        None,
        Whole(1, limits.THREAD_COUNT_MAX),
        "Threads for handlers that are plain functions; None: one per slot, at most 128.",
    )
    process_count: int | None = _in_code(
        None,
        Whole(1, limits.PROCESS_COUNT_MAX),
        'Processes for handlers with `executor="process"`; None: one per slot, at most one per core.',
    )
    max_tasks_per_process: int | None = _in_code(
        None,
        Whole(1, limits.TASKS_PER_PROCESS_COUNT_MAX),
        "Calls after which such a process is replaced, as handlers may leak memory; None: never.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions(WorkerSettings):
    """The settings of a worker program: its own, and those of its worker."""

    broker: str = setting(BROKER_URL_DEFAULT, BROKER_URL, "Worker port of the broker.")
    processes: int = setting(
        1,
        Whole(1, limits.PROCESS_COUNT_MAX),
        "Worker processes, each with its own connection. With more than one, one that dies is replaced; a single one "
        "runs without a parent that could.",
    )
    reload: bool = setting(
        False, Switch(), "Restart when a Python file changes, here or below. For development."
    )
    token_file: str | None = token_file_setting()
    ca: str | None = ca_setting()
    certificate: str | None = certificate_setting()
    key: str | None = key_setting()
    insecure_skip_verify: bool = insecure_skip_verify_setting()


WORKER: Final = Table("worker", WorkerOptions, "TASKFERRY_WORKER_", check_tls)

LINK_SETTINGS: Final = LinkSettings(
    message_size_bytes_max=limits.INCOMING_SIZE_BYTES_MAX,
    heartbeat_interval_s=wire.HEARTBEAT_INTERVAL_S,
    silence_s_max=wire.SILENCE_S_MAX,
)
"""The bounds of a worker's link to its broker."""
