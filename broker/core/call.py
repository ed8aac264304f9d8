"""A request to the core: run this command with this data, on these terms.

Every entry point makes a `Call` from what it received, so the core depends on no wire message.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from ...protocol.limits import PRIORITY_DEFAULT

Target = str | Mapping[str, str | list[str]]
"""A worker_id, or labels that a worker must have: every key, with that value or one of those values."""

BUDGET_S_MIN: Final = 0.001
"""The shortest timeout, and the shortest remaining time that is sent to a worker."""


class Attempt:
    """What a call has in addition if it is one attempt of kept work; never changed.

    Such a call is patient: it waits for a slot as long as it takes, whatever the overload, and `timeout_s` counts from
    its assignment. Its port is notified of the assignment. At the broker's stop its worker is not told to cancel.
    `job_id`, `number` (from 1) and `is_last` are for the worker. If it `reserves`, its assignment at first only takes
    the slot: it is sent, and its time begins, when the requester says so (`Core.send_reserved`). A requester submits
    either attempts or other calls, not both.
    """

    __slots__ = ("is_last", "job_id", "number", "reserves", "timeout_s")

    def __init__(
        self, job_id: str, number: int, timeout_s: float, *, is_last: bool, reserves: bool = False
    ) -> None:
        self.job_id = job_id
        self.number = number
        self.timeout_s = timeout_s
        self.is_last = is_last
        self.reserves = reserves


class Call:
    """A call as its caller made it; never changed, except that `data` may be released when nobody needs it any more.

    `request_id` is unique among the caller's calls in flight. `data` is in the encoding of the caller's port.
    `timeout_s` is the time from admission to the deadline; None means the broker's default. `idempotent`: the command
    may run twice. `hedge_after` requests a hedge (a second copy on another worker) after that many seconds, or after
    that percentile (`p95`) of the command's recent durations. `affinity` influences which worker is picked, `priority`
    (0 to 9) how soon; `trace` is a W3C traceparent, passed on unchanged. `attempt`: it is one of kept work. `stream`:
    its chunks are wanted.
    """

    __slots__ = (
        "affinity",
        "attempt",
        "command",
        "data",
        "hedge_after",
        "idempotent",
        "priority",
        "request_id",
        "stream",
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
        attempt: Attempt | None = None,
        stream: bool = False,
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
        self.attempt = attempt
        self.stream = stream
