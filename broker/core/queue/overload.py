"""Whether what waits is a burst that will pass, or more than its workers can handle: of a line, or one share of it.

The rule is CoDel's (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012): a queue is bad if waits were too
long through a whole interval. CoDel takes the shortest wait, which is that of all in a queue of one flow. Where clients
take turns, those that send little never wait long, and would hide that the others do: so it takes `LONG_SHARE_MIN` of
the waits, and each client that has much waiting is judged by itself, as FQ-CoDel does (RFC 8290). The remedy is
Facebook's (Maurer, "Fail at Scale", ACM Queue 2015): newest first, so that the requests that are served have not lost
half of their time waiting, and those that have waited too long are rejected. Waits are measured as shares of the
request's timeout, because the same broker carries requests of milliseconds and of minutes. Unlike a network's queue, a
task broker's line may start long and be worked off: a line that has become shorter over the interval is not overloaded.
"""

from typing import Final

INTERVAL_S: Final = 1.0
"""CoDel's interval: long enough for a burst to pass, short compared with usual timeouts. CoDel's own 100 ms are for
packets."""

WAITS_COUNT_MIN: Final = 20
"""An interval goes on until this many waits have ended: fewer do not show whether more come than go, and a few long
tasks are not an overload."""

OWN_COUNT_MIN: Final = 20
OWN_WAITS_COUNT_MIN: Final = 5
"""A share is judged by itself as soon as so many of it wait, and its intervals have at least so many waits: it may get
few turns, and that most of its requests are behind others of its own says more."""

WAIT_SHARE_TARGET: Final = 0.1
"""CoDel's target, as a share of the timeout: 3 s of the usual 30."""

WAIT_SHARE_MAX: Final = 0.25
"""The share of its timeout that a request may wait during overload. Three quarters are left for its work, and with the
usual timeout the line is clear again 7.5 s after the overload."""

LONG_SHARE_MIN: Final = 0.25
"""The part of the waits in an interval that has to be too long: more than a few requests of low priority, and less than
is left for a flood if others take most turns."""


class Overload:
    """The state of a line, or of a share of it. `served` and `expired` report waits; `look` is the periodic check."""

    __slots__ = (
        "_began_at",
        "_count_before",
        "_is_of_share",
        "_long_count",
        "_served_count",
        "_waits_count",
        "is_overloaded",
        "served_per_s",
    )

    def __init__(self, *, is_of_share: bool = False) -> None:
        self._is_of_share = is_of_share
        self.is_overloaded = False
        self.served_per_s = 0.0
        """How fast the line moved in the last whole interval; 0 before the first one."""
        self._begin(0, 0.0)

    def served(self, wait_share: float) -> None:
        """A request leaves the line for a worker, after it has waited that share of its timeout."""
        self._served_count += 1
        self._waits_count += 1
        self._long_count += wait_share > WAIT_SHARE_TARGET

    def expired(self) -> None:
        """A request has waited for all of its timeout."""
        self._waits_count += 1
        self._long_count += 1

    def look(self, count: int, wait_share_oldest: float, now: float) -> bool:
        """`count` requests wait, at least one, and the longest wait is that share of its request's timeout. True if
        this starts or ends an overload."""
        if self.is_overloaded and wait_share_oldest < WAIT_SHARE_TARGET:
            self.end()
            return True
        if not self._count_before:
            self._begin(count, now)
            return False
        waits_count_min = OWN_WAITS_COUNT_MIN if self._is_of_share else WAITS_COUNT_MIN
        if now < self._began_at + INTERVAL_S or self._waits_count < waits_count_min:
            return False
        are_many_long = self._long_count >= LONG_SHARE_MIN * self._waits_count
        is_too_long = are_many_long and wait_share_oldest > WAIT_SHARE_TARGET
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
        self._waits_count = 0
        self._long_count = 0
