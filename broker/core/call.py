"""What somebody asks of the core: run this command with this data, under these terms.

Every entry makes a `Call` of what it was sent, so the core needs to know no message of any wire.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from ...protocol.limits import PRIORITY_DEFAULT

Target = str | Mapping[str, str | list[str]]
"""A worker_id, or labels that a worker must have: every key, with the value or any one of the values."""

BUDGET_S_MIN: Final = 0.001
"""The shortest timeout there is, and the least that a worker is told to have left."""


class Call:
    """A call as its caller made it; never changed.

    `request_id` is unique among the caller's calls in flight. `data` is written in the encoding of the caller's port.
    `timeout_s` is the time from admission to the deadline; None: the broker's default. `idempotent`: the command may
    run twice. `hedge_after` asks for a second copy after so many seconds, or after that percentile (`p95`) of the
    command's usual durations. `affinity` and `priority` (0 to 9) steer which worker and how soon; `trace` is a W3C
    traceparent, passed on as it is.
    """

    __slots__ = (
        "affinity",
        "command",
        "data",
        "hedge_after",
        "idempotent",
        "priority",
        "request_id",
        "target",
        "timeout_s",
        "trace",
    )

    def __init__(  # noqa: PLR0917  names would cost the hot path
        self,
        request_id: str,
        command: str,
        data: Raw,
        timeout_s: float | None = None,
        idempotent: bool = False,
        priority: int = PRIORITY_DEFAULT,
        affinity: str | None = None,
        trace: str | None = None,
        target: Target | None = None,
        hedge_after: float | str | None = None,
    ) -> None:
        self.request_id = request_id
        self.command = command
        self.data = data
        self.timeout_s = timeout_s
        self.idempotent = idempotent
        self.priority = priority
        self.affinity = affinity
        self.trace = trace
        self.target = target
        self.hedge_after = hedge_after
