"""Whether a line of waiting requests is a burst that will pass, or more than its workers can ever do.

The rule is CoDel's (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012): a queue is bad where even the
shortest wait of a whole interval was too long. What is done about it is Facebook's (Maurer, "Fail at Scale", ACM Queue
2015): newest first, so that those who are served have not waited half of their time away, and whoever has waited too
long is told so. Waits are measured against what each caller is ready to wait, its timeout, because the same broker
carries requests of milliseconds and of minutes. Unlike a network's, a task broker's line may begin long and be worked
off: a line that has become shorter over the interval is no overload.
"""

from typing import Final

INTERVAL_S: Final = 1.0
"""CoDel's interval: long enough for a burst to pass, and short beside the timeouts of people and programs. Its 100 ms
are for packets."""

SERVED_COUNT_MIN: Final = 20
"""Requests that an interval has served at least, or it goes on: whether more come than go cannot be told from fewer,
and a few long tasks are no overload."""

WAIT_SHARE_TARGET: Final = 0.1
"""CoDel's target, as a share of the timeout: 3 s of the usual 30."""

WAIT_SHARE_MAX: Final = 0.25
"""The share of its timeout that a request may wait while there is overload. Three quarters are left for its work, and
the line is clear again 7.5 s after an overload of requests with the usual timeout."""

NO_WAIT: Final = float("inf")


class Overload:
    """The judgement on one line. Told of every wait that ends, and asked at the core's looks."""

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
        """How fast the line moved in the last whole interval; 0 where there was none yet."""
        self._began_at = 0.0
        self._begin(0, 0.0)

    def served(self, wait_share: float) -> None:
        """A request leaves the line for a worker, after having waited that share of its timeout."""
        self._served_count += 1
        self._wait_share_min = min(self._wait_share_min, wait_share)

    def look(self, count: int, wait_share_oldest: float, now: float) -> bool:
        """`count` requests wait, at least one, and the oldest has waited that share of its timeout. True where this
        begins or ends an overload."""
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
        """Nobody waits too long any more."""
        self.is_overloaded = False
        self._count_before = 0

    def _begin(self, count: int, now: float) -> None:
        self._began_at = now
        self._count_before = count
        self._served_count = 0
        self._wait_share_min = NO_WAIT
