"""The data of assigned requests: how much of it is kept, and for how long.

A worker has its own copy. Ours is needed again only if the assignment never left the broker, or if the request may run
twice (a retry, a hedge). So it is released when the assignment has left, and is kept until the end for idempotent
requests alone. If these keep too much, whoever keeps most gives way: the oldest of their requests go on, but without
the chance of another run.
"""

from typing import Final

from msgspec import Raw

from ..account import Account
from ..request import Assignment, Request
from ..settings import CoreSettings

KEPT_SIZE_BYTES_MIN: Final = 1024
"""Data of at least this size is counted and released. Less is no more than the rest of a request takes, and only as
many are assigned as there are slots."""

SHARE_KEPT: Final = 7 / 8
"""When too much is kept, no more than this share of the bound stays: finding it takes a look at all of it, which must
not be needed for every request."""

RELEASED: Final = Raw(b"")
"""In place of data that was released. No data is empty, in either encoding."""


class KeptData:
    """`size_bytes` of data are kept for assigned requests; `given_up_count` idempotent ones have lost theirs to the
    bound."""

    __slots__ = ("_again", "_late", "_new", "given_up_count", "settings", "size_bytes")

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings
        self.size_bytes = 0
        self.given_up_count = 0
        self._new: list[Assignment] = []
        """Of this turn."""
        self._late: list[Assignment] = []
        """Of earlier turns, and not written when last looked at."""
        self._again: dict[Account, dict[Request, None]] = {}
        """By account, oldest first: requests that a worker has, and that may run again."""

    def assigned(self, request: Request, assignment: Assignment) -> None:
        """A request with so much data was assigned, or sent once more."""
        if not request.kept_size_bytes:
            request.kept_size_bytes = len(request.call.data)
            self.size_bytes += request.kept_size_bytes
        self._new.append(assignment)

    def ended(self, request: Request) -> None:
        """A request with data that is kept has ended, or waits again."""
        self._forget(request)
        account = request.requester.account
        own = self._again.get(account)
        if own is not None and request in own:
            del own[request]
            if not own:
                del self._again[account]

    def end_turn(self) -> None:
        """Everything sent in this turn was passed to the links: release what has left the broker."""
        if self._new:
            new, self._new = self._new, []
            self._release(new)

    def look(self) -> None:
        """The same for what had not left it before. To be called now and then."""
        if self._late:
            late, self._late = self._late, []
            self._release(late)

    def _release(self, assignments: list[Assignment]) -> None:
        for assignment in assignments:
            request = assignment.request
            if request is None or not request.kept_size_bytes:
                continue
            if not assignment.was_written:
                self._late.append(assignment)
            elif request.call.idempotent:
                self._again.setdefault(request.requester.account, {})[request] = None
            else:
                self._forget(request)
                request.call.data = RELEASED
        if self.size_bytes > self.settings.assigned_size_bytes_max:
            self._give_up()

    def _give_up(self) -> None:
        """Every account that keeps more than an equal share gives up its oldest, down to that share."""
        share = self.settings.assigned_size_bytes_max * SHARE_KEPT / max(1, len(self._again))
        for account, own in tuple(self._again.items()):
            kept_size_bytes = sum([request.kept_size_bytes for request in own])
            for request in tuple(own):
                if kept_size_bytes <= share:
                    break
                kept_size_bytes -= request.kept_size_bytes
                self._forget(request)
                request.call.data = RELEASED
                del own[request]
                self.given_up_count += 1
            if not own:
                del self._again[account]

    def _forget(self, request: Request) -> None:
        self.size_bytes -= request.kept_size_bytes
        request.kept_size_bytes = 0
