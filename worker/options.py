"""What can be set on a worker program: the table [worker], with names, types, bounds, defaults and help in one place.

Most of it is also the module's to say (settings.py); what is set here comes before that. Knows numbers and words alone,
so that the command line can show them without loading the worker.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from ..configuration.kinds import Choice, Dictionary, Number, Switch, Text, Whole
from ..configuration.schema import Table, setting
from ..protocol import limits as wire
from . import limits

URL_DEFAULT: Final = "ws://localhost:8765"
URL_LENGTH_MAX: Final = 2000
"""Characters of a URL: what browsers and proxies take as well."""


def _check_name(name: str) -> None:
    from ..protocol.messages import NAME_PATTERN, NAME_RULE  # noqa: PLC0415  loads all messages

    if re.search(NAME_PATTERN, name) is None:
        raise ValueError(NAME_RULE)


_NAME: Final = Text(wire.NAME_LENGTH_MAX, length_min=1, check=_check_name)
_LABEL: Final = Text(wire.LABEL_LENGTH_MAX)


def _modules(otherwise: str) -> str:
    return f"the module's, else {otherwise}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker program is started with. None: as the module says."""

    broker: str = setting(URL_DEFAULT, Text(URL_LENGTH_MAX, is_url=True), "The broker's worker port.")
    name: str | None = setting(
        None, _NAME, "Unique at the broker.", instead=_modules("host, process id and chance")
    )
    concurrency: int | None = setting(
        None,
        Whole(1, wire.CONCURRENCY_MAX),
        "Assignments at a time.",
        instead=_modules(str(limits.CONCURRENCY_DEFAULT)),
    )
    weight: float | None = setting(
        None,
        Number(wire.WEIGHT_MIN, wire.WEIGHT_MAX),
        "Share relative to other workers.",
        instead=_modules(f"{wire.WEIGHT_DEFAULT:g}"),
    )
    labels: dict[str, str] | None = setting(  # noqa: RUF009  a field, made by a function of ours
        None,
        Dictionary(_LABEL, _LABEL, wire.LABELS_COUNT_MAX),
        "What requests may be targeted by. On the command line it may be repeated.",
        option="--label",
        instead=_modules("none"),
    )
    canary: str | None = setting(
        None,
        _NAME,
        "The command that the broker may call, without data, to see that the worker works.",
        instead=_modules("none"),
    )
    encoding: str | None = setting(
        None, Choice(("json", "msgpack")), "How messages are written.", instead=_modules("json")
    )
    grace_s: float | None = setting(
        None,
        Number(0, limits.GRACE_S_MAX, "seconds"),
        "Seconds to finish in when told to stop.",
        key="grace",
        instead=_modules(f"{limits.GRACE_S_DEFAULT:g}"),
    )
    processes: int = setting(
        1,
        Whole(1, limits.PROCESS_COUNT_MAX),
        "Worker processes, each with its own connection; one that dies is replaced.",
    )
    reload: bool = setting(False, Switch(), "Start anew when the source changes. For development.")

    def of_worker(self) -> dict[str, Any]:
        """What comes before the module's own settings, by the names of WorkerSettings."""
        names = ("name", "concurrency", "weight", "labels", "canary", "encoding", "grace_s")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


WORKER: Final = Table("worker", WorkerOptions, "TASKFERRY_WORKER_")
METAVARS: Final = {"broker": "URL", "name": "NAME", "canary": "COMMAND", "labels": "K=V"}
