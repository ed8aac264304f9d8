"""A listener that keeps every step and compares the result with the core after each call."""

from taskferry.broker.core.core import Core
from taskferry.broker.core.request import Assignment, Request


class Known:
    """What is known of one request in flight."""

    def __init__(self) -> None:
        self.is_waiting = False
        self.assignments: set[Assignment] = set()


class WatchfulListener:
    """`story` has one line per step: `r1 admitted`, `r1 to first`, `r1 to second as hedge`, `r1 not first: answered`,
    `r1 waits`, `r1 success`."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.known: dict[Request, Known] = {}
        self.ended_count = 0

    def admitted(self, request: Request) -> None:
        assert request not in self.known
        self.known[request] = Known()
        self.story.append(f"{request.call.request_id} admitted")

    def waits(self, request: Request) -> None:
        known = self.known[request]
        assert not known.is_waiting
        assert not known.assignments
        known.is_waiting = True
        self.story.append(f"{request.call.request_id} waits")

    def assigned(self, request: Request, assignment: Assignment, *, is_hedge: bool) -> None:
        known = self.known[request]
        assert is_hedge == bool(known.assignments)
        known.is_waiting = False
        known.assignments.add(assignment)
        how = " as hedge" if is_hedge else ""
        self.story.append(f"{request.call.request_id} to {assignment.worker.worker_id}{how}")

    def unassigned(self, request: Request, assignment: Assignment, outcome: str) -> None:
        self.known[request].assignments.remove(assignment)
        self.story.append(f"{request.call.request_id} not {assignment.worker.worker_id}: {outcome}")

    def ended(self, request: Request, outcome: str) -> None:
        assert request.assignment is request.hedge is None
        del self.known[request]
        self.ended_count += 1
        self.story.append(f"{request.call.request_id} {outcome}")

    def check(self, core: Core) -> None:
        """The reported steps agree with the state of the core."""
        assert self.ended_count == core.counts.ended_count
        in_flight = {request for requester in core.requesters for request in requester.requests.values()}
        assert set(self.known) == in_flight
        for request, known in self.known.items():
            assert known.is_waiting == request.is_waiting
            assert known.assignments == {request.assignment, request.hedge} - {None}
