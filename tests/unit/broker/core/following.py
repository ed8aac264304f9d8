"""A follower that believes nothing: it keeps what it is told, and compares that with the core after every step."""

from typing import Final

from taskferry.broker.core.core import Core
from taskferry.broker.core.request import Assignment, Request

NEVER_SERVED: Final = "no_available_workers"


class Followed:
    """What is known of one request in flight."""

    def __init__(self) -> None:
        self.is_waiting = False
        self.assignments: set[Assignment] = set()


class WatchfulFollower:
    """`told` is the story as lines: `r1 admitted`, `r1 to first`, `r1 to second as hedge`, `r1 not first: answered`,
    `r1 waits`, `r1 success`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.followed: dict[Request, Followed] = {}
        self.ended_count = 0

    def unserved(self, request_id: str, trace: str | None) -> None:
        self.told.append(f"{request_id} {NEVER_SERVED}, trace {trace}")
        self.ended_count += 1

    def admitted(self, request: Request) -> None:
        if request not in self.followed:
            self.followed[request] = Followed()
            self.told.append(f"{request.request_id} admitted")

    def waits(self, request: Request) -> None:
        followed = self.followed[request]
        assert not followed.is_waiting
        assert not followed.assignments
        followed.is_waiting = True
        self.told.append(f"{request.request_id} waits")

    def assigned(self, request: Request, assignment: Assignment, *, is_hedge: bool) -> None:
        followed = self.followed[request]
        assert is_hedge == bool(followed.assignments)
        followed.is_waiting = False
        followed.assignments.add(assignment)
        how = " as hedge" if is_hedge else ""
        self.told.append(f"{request.request_id} to {assignment.worker.worker_id}{how}")

    def unassigned(self, request: Request, assignment: Assignment, outcome: str) -> None:
        self.followed[request].assignments.remove(assignment)
        self.told.append(f"{request.request_id} not {assignment.worker.worker_id}: {outcome}")

    def ended(self, request: Request, outcome: str) -> None:
        del self.followed[request]
        self.ended_count += 1
        self.told.append(f"{request.request_id} {outcome}")

    def check(self, core: Core) -> None:
        """What was told is what is."""
        assert self.ended_count == core.ended_count
        in_flight = {request for requester in core.requesters for request in requester.requests.values()}
        assert set(self.followed) == in_flight
        for request, followed in self.followed.items():
            assert followed.is_waiting == request.is_waiting
            assert followed.assignments == {request.assignment, request.hedge} - {None}
