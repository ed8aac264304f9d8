"""How a requester has fared: for each command its last successes at two different workers.

Needed if it fails at one of them: whoever succeeds elsewhere does not fail because of what it sends. Only successes
count for which the broker chose the worker.
"""

from collections import OrderedDict
from math import inf
from typing import Final

COMMANDS_COUNT_MAX: Final = 100
"""Commands of one account, those used last: far more than one program calls."""

_NOBODY: Final = ""
"""The name of no worker."""


class Fares:
    """Of one account. Times in seconds, monotonic; -inf for never."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[str, float, float]] = OrderedDict()
        """By command: the worker of the last success, when that was, and when there was one at another worker."""

    def succeeded(self, command: str, worker_id: str, now: float) -> None:
        """It has succeeded with `command` at this worker."""
        last_id, last_at, other_at = self._last.pop(command, (_NOBODY, -inf, -inf))
        self._last[command] = (worker_id, now, other_at if last_id == worker_id else last_at)
        if len(self._last) > COMMANDS_COUNT_MAX:
            self._last.popitem(last=False)

    def elsewhere_at(self, command: str, worker_id: str) -> float:
        """When it last succeeded with `command` at a worker other than this one."""
        last_id, last_at, other_at = self._last.get(command, (_NOBODY, -inf, -inf))
        return other_at if last_id == worker_id else last_at
