"""Examples of what a histogram counts: for each bucket the ids of a recent request.

They lead from slow requests in a graph to one of them in traces and logs.
"""

from typing import Final

from ..call import Call
from ..delivery.deadlines import NEVER
from .histogram import DURATION_BOUNDS_S

EXEMPLAR_S_MIN: Final = 1.0
"""How long an exemplar is kept at least: any request will do, so the hot path need not store each. Short compared with
the seconds between two scrapes."""


class Exemplar:
    """A request that ended at `ended_at` (seconds, monotonic) after `duration_s`; `trace` is its W3C traceparent."""

    __slots__ = ("duration_s", "ended_at", "request_id", "trace")

    def __init__(self, request_id: str, trace: str | None, duration_s: float, ended_at: float) -> None:
        self.request_id = request_id
        self.trace = trace
        self.duration_s = duration_s
        self.ended_at = ended_at


class Exemplars:
    """`kept[i]` is the exemplar of bucket i, if there is one; from `due_at[i]` on, the next request replaces it."""

    __slots__ = ("due_at", "kept")

    def __init__(self, *, is_wanted: bool) -> None:
        count = len(DURATION_BOUNDS_S) + 1
        self.kept: list[Exemplar | None] = [None] * count
        self.due_at = [0.0 if is_wanted else NEVER] * count

    def keep(self, index: int, call: Call, duration_s: float, now: float) -> None:
        """Make `call`, which has just ended, the exemplar of bucket `index`."""
        self.kept[index] = Exemplar(call.request_id, call.trace, duration_s, now)
        self.due_at[index] = now + EXEMPLAR_S_MIN


NO_EXEMPLARS: Final = Exemplars(is_wanted=False)
"""For all whose exemplars are not wanted: it never keeps any."""
