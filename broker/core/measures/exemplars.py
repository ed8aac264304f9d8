"""Which requests stand as examples for what a histogram counts: for each bucket a late one, by its ids.

So that whoever sees slow requests in a graph finds one of them in traces and logs. Knows ids and durations; not how
they are shown.
"""

from typing import TYPE_CHECKING, Final

from ..delivery.deadlines import NEVER
from .histogram import DURATION_BOUNDS_S

if TYPE_CHECKING:
    from ..request import Request


EXEMPLAR_S_MIN: Final = 1.0
"""How long one stands at least: any will do, so the hot path must not note every request. Small beside the seconds
between two scrapes."""


class Exemplar:
    """A request that ended at `ended_at` (seconds, monotonic) after `duration_s`; `trace` is its W3C traceparent."""

    __slots__ = ("duration_s", "ended_at", "request_id", "trace")

    def __init__(self, request_id: str, trace: str | None, duration_s: float, ended_at: float) -> None:
        self.request_id = request_id
        self.trace = trace
        self.duration_s = duration_s
        self.ended_at = ended_at


class Exemplars:
    """`kept[i]` is that of bucket i, where there was one; from `due_at[i]` on the next takes its place."""

    __slots__ = ("due_at", "kept")

    def __init__(self, *, is_wanted: bool) -> None:
        count = len(DURATION_BOUNDS_S) + 1
        self.kept: list[Exemplar | None] = [None] * count
        self.due_at = [0.0 if is_wanted else NEVER] * count

    def keep(self, index: int, request: "Request", duration_s: float, now: float) -> None:
        """Let `request`, which has just ended, stand for bucket `index`."""
        self.kept[index] = Exemplar(request.request_id, request.trace, duration_s, now)
        self.due_at[index] = now + EXEMPLAR_S_MIN
