"""What must be true of the core between any two calls. Tests ask after every step; production never does."""

from .core import Core
from .worker import WorkerState


def check_invariants(core: Core) -> None:
    """Raise AssertionError where the core's books do not agree with each other. Costs a walk over all that is live.

    Strategies are not asked: a pick moves their turns.
    """
    live = [request for requester in core.requesters for request in requester.requests.values()]
    assert core.in_flight_count == len(live), "submitted = ended + in flight"
    assert core.waiting_count == sum(request.is_waiting for request in live)
    assert core.waiting_size_bytes == sum(len(request.data) for request in live if request.is_waiting)
    for request in live:
        assert request.is_waiting != (request.assignment is not None), (
            "waiting or assigned, never both or neither"
        )
        assert request.deadline >= request.submitted_at
        if request.assignment is not None:
            assert request.assignment.request is request
            assert request.assignment.worker.assignments[request.assignment.msg_id] is request.assignment
    for worker in core.roster.workers.values():
        assert worker.in_flight_count == len(worker.assignments) <= worker.concurrency, "slots"
        assert worker.state is not WorkerState.GONE
        assert bool(worker.pools) == (worker.state is WorkerState.HEALTHY)
        for pool in worker.pools:
            assert worker in pool.members
    assert set(core._waiting_commands) == {request.command for request in live if request.is_waiting}
    for command in core.roster.commands.values():
        assert command.waiting.count == sum(
            request.is_waiting and request.command is command for request in live
        )
        if command.pool is None:
            assert not command.waiting.count, "nobody waits for a command that nobody serves"
            continue
        assert command in command.pool.commands
        members = command.pool.members
        servers = [
            w
            for w in core.roster.workers.values()
            if w.state is WorkerState.HEALTHY and command in w.commands
        ]
        assert set(members) == set(servers)
        has_free = any(worker.in_flight_count < worker.concurrency for worker in members)
        assert not (has_free and command.waiting.count), "nobody waits while a slot is free"
    if not live:
        assert core.deadlines.is_empty
