"""The last failures, for whoever looks at a broker that misbehaves: of each command and code the latest, and how many.

Merged, so that one command that fails all the time hides no other; bounded, because handlers name codes as they like.
A handler's words are left out: they may hold data of requests, and its worker's log has them.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ..failure import Failure
from ..request import Request

FAILURES_COUNT_MAX: Final = 100
"""Commands with a code that are remembered; beyond it the one that has not failed for longest is dropped."""


class RecentFailure:
    """`count` requests have failed so since it was remembered, the last one at `ended_at` after `duration_s` (seconds,
    monotonic). `command`: as that one named it. `text`: empty if a handler failed it."""

    __slots__ = ("code", "command", "count", "duration_s", "ended_at", "request_id", "text", "worker_id")

    def __init__(self, code: str) -> None:
        self.code = code
        self.command = ""
        self.count = 0
        self.request_id = ""
        self.worker_id: str | None = None
        self.text = ""
        self.ended_at = 0.0
        self.duration_s = 0.0


class RecentFailures:
    """Those of one broker."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], RecentFailure] = OrderedDict()

    def add(
        self, request: Request, failure: Failure, worker_id: str | None, now: float, *, is_answer: bool
    ) -> None:
        """`request` has failed; with `is_answer` its handler said so."""
        key = request.command.name, failure.code
        recent = self._failures.get(key)
        if recent is None:
            recent = self._failures[key] = RecentFailure(failure.code)
            if len(self._failures) > FAILURES_COUNT_MAX:
                self._failures.popitem(last=False)
        else:
            self._failures.move_to_end(key)
        recent.count += 1
        recent.command = request.call.command
        recent.request_id = request.call.request_id
        recent.worker_id = worker_id
        recent.text = "" if is_answer else failure.text
        recent.ended_at = now
        recent.duration_s = now - request.submitted_at

    def latest_first(self) -> Iterator[RecentFailure]:
        """All, the latest first."""
        return reversed(self._failures.values())
