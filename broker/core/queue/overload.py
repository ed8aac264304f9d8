"""Whether a line of waiting requests is a burst that will pass, or more than its workers can handle.

The rule is CoDel's (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012): a queue is bad if even the
shortest wait in a whole interval was too long. The remedy is Facebook's (Maurer, "Fail at Scale", ACM Queue 2015):
newest first, so that the requests that are served have not lost half of their time waiting, and those that have waited
too long are rejected. Waits are measured as shares of the request's timeout, because the same broker carries requests
of milliseconds and of minutes. Unlike a network's queue, a task broker's line may start long and be worked off: a line
that has become shorter over the interval is not overloaded.
"""

from typing import Final

INTERVAL_S: Final = 1.0
"""CoDel's interval: long enough for a burst to pass, short compared with usual timeouts. CoDel's own 100 ms are for
packets."""

SERVED_COUNT_MIN: Final = 20
"""An interval goes on until it has served this many requests: fewer do not show whether more come than go, and a few
long tasks are not an overload."""

WAIT_SHARE_TARGET: Final = 0.1
"""CoDel's target, as a share of the timeout: 3 s of the usual 30."""

WAIT_SHARE_MAX: Final = 0.25
"""The share of its timeout that a request may wait during overload. Three quarters are left for its work, and with the
usual timeout the line is clear again 7.5 s after the overload."""

NO_WAIT: Final = float("inf")


class Overload:
    """The state of one line. `served` reports each wait that ends; `look` is the periodic check."""

    __slots__ = (
        "_began_at",
        "_count_before",
        "_served_count",
        "_wait_share_min",
        "is_overloaded",
        "served_per_s",
    )

    def __init__(self) -> None:
        self.is_overloaded = False
        self._wait_share_min = NO_WAIT
        self.served_per_s = 0.0
        """How fast the line moved in the last whole interval; 0 before the first one."""
        self._begin(0, 0.0)

    def served(self, wait_share: float) -> None:
        """A request leaves the line for a worker, after it has waited that share of its timeout."""
        self._served_count += 1
        self._wait_share_min = min(self._wait_share_min, wait_share)

    def look(self, count: int, wait_share_oldest: float, now: float) -> bool:
        """`count` requests wait, at least one, and the longest wait is that share of its request's timeout. True if
        this starts or ends an overload."""
        if self.is_overloaded and wait_share_oldest < WAIT_SHARE_TARGET:
            self.end()
            return True
        if not self._count_before:
            self._begin(count, now)
            return False
        if now < self._began_at + INTERVAL_S or self._served_count < SERVED_COUNT_MIN:
            return False
        is_too_long = min(self._wait_share_min, wait_share_oldest) > WAIT_SHARE_TARGET
        has_begun = not self.is_overloaded and is_too_long and count >= self._count_before
        self.is_overloaded |= has_begun
        self.served_per_s = self._served_count / (now - self._began_at)
        self._begin(count, now)
        return has_begun

    def end(self) -> None:
        """No request waits too long any more."""
        self.is_overloaded = False
        self._count_before = 0

    def _begin(self, count: int, now: float) -> None:
        self._began_at = now
        self._count_before = count
        self._served_count = 0
        self._wait_share_min = NO_WAIT
