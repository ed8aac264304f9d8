"""Explains why a request waits: what the core knows about a request in flight, as plain values.

Read-only.
"""

from collections.abc import Callable
from heapq import nsmallest
from itertools import islice
from typing import Any, Final

from .call import Target
from .core import Core
from .delivery.deadlines import NEVER
from .fleet.command import Command
from .fleet.pool import Pool
from .fleet.route import mismatch
from .fleet.worker import TRUSTED, Worker, WorkerState
from .queue.turns import PRIORITY_STEP_S
from .request import Request

POSITION_MAX: Final = 10_000
"""How far into its line a request is searched for, so that an explanation takes a few milliseconds at most."""

LISTED_COUNT_MAX: Final = 20
"""Requests that are listed if none is named: a screenful."""

ASSIGNMENTS_COUNT_MAX: Final = 10_000
"""Assignments that are looked at for those that run longest: a few milliseconds."""

WORKERS_LISTED_COUNT_MAX: Final = 100
"""Workers that are listed one by one for a request."""


def explain(core: Core, request_id: str, now: float) -> list[dict[str, Any]]:
    """Every request in flight under `request_id`, which is unique only on its requester's connection."""
    found = (requester.requests.get(request_id) for requester in core.requesters)
    return [_explain(core, request, now) for request in found if request is not None]


def explain_workers(core: Core, command: str, target: Target | None, now: float) -> dict[str, Any]:
    """The workers that serve a command, and whether each could take a call of it with this target now.
    `matching_count`: of those that do not drain, how many the target allows."""
    known = core.roster.commands.get(command)
    if known is None:
        return {"workers_count": 0, "matching_count": 0, "workers": []}
    pool = known.route.pool
    members = () if pool is None else pool.members
    return {
        **_workers(core, known, lambda worker: _reason(worker, target, pool, now)),
        "matching_count": sum(mismatch(worker, target) is None for worker in members),
    }


def longest_waiting(core: Core, now: float) -> list[dict[str, Any]]:
    """The requests that have waited longest, longest first; at most LISTED_COUNT_MAX."""
    shares = (share for route in core.queue.routes for share in route.waiting.shares())
    lines = (line for share in shares for line in share.lines())
    heads = (request for line in lines for request in islice(line, LISTED_COUNT_MAX))
    longest = nsmallest(LISTED_COUNT_MAX, heads, key=lambda request: request.waiting_since)
    return [_summary(request, now) for request in longest]


def longest_running(core: Core, now: float) -> list[dict[str, Any]]:
    """The requests that have been with a worker for longest, longest first; at most LISTED_COUNT_MAX.

    A worker's assignments are in the order of their times, so of each only the first are looked at.
    """
    workers = core.roster.workers
    each_count = min(LISTED_COUNT_MAX, max(1, ASSIGNMENTS_COUNT_MAX // max(1, len(workers))))
    firsts = [
        assignment
        for worker in islice(workers.values(), ASSIGNMENTS_COUNT_MAX)
        for assignment in islice(worker.assignments.values(), each_count)
        if assignment.request is not None
    ]
    longest = nsmallest(LISTED_COUNT_MAX, firsts, key=lambda assignment: assignment.assigned_at)
    return [
        {
            **_summary(request, now),
            "worker_id": assignment.worker.worker_id,
            "running_s": round(now - assignment.assigned_at, 3),
        }
        for assignment in longest
        if (request := assignment.request) is not None
    ]


def recent_failures(core: Core, now: float) -> list[dict[str, Any]]:
    """The last failures, the latest first; at most LISTED_COUNT_MAX. `error`: None for a handler's own words."""
    return [
        {
            "command": failure.command,
            "code": failure.code,
            "count": failure.count,
            "request_id": failure.request_id,
            "worker_id": failure.worker_id,
            "error": failure.text or None,
            "ago_s": round(now - failure.ended_at, 3),
            "duration_s": round(failure.duration_s, 3),
        }
        for failure in islice(core.recent_failures.latest_first(), LISTED_COUNT_MAX)
    ]


def _summary(request: Request, now: float) -> dict[str, Any]:
    """The part that costs no search."""
    return {
        "request_id": request.call.request_id,
        "is_job": request.call.attempt is not None,
        "command": request.command.name,
        "state": "waiting" if request.is_waiting else "assigned",
        "priority": request.call.priority,
        "age_s": round(now - request.submitted_at, 3),
        "remaining_s": None if request.deadline == NEVER else round(request.deadline - now, 3),
        "queued_count": request.route.waiting.count,
        "target": request.route.target,
        "is_overloaded": request.route.waiting.is_overloaded,
        "waits_for": _waits_for(request),
        "retries_count": request.retries_count,
    }


def _explain(core: Core, request: Request, now: float) -> dict[str, Any]:
    position = _position(request, now) if request.is_waiting else None

    def reason(worker: Worker) -> str:
        return (
            "has it" if worker in holders else _reason(worker, request.route.target, request.route.pool, now)
        )

    assignments = [assignment for assignment in (request.assignment, request.hedge) if assignment is not None]
    holders = [assignment.worker for assignment in assignments]
    return {
        **_summary(request, now),
        "position": position,
        "position_is_exact": position is not None and position <= POSITION_MAX,
        "assignments": [
            {
                "worker_id": assignment.worker.worker_id,
                "assigned_s": round(now - assignment.assigned_at, 3),
                "is_hedge": assignment is request.hedge,
            }
            for assignment in assignments
        ],
        **_workers(core, request.command, reason),
    }


def _workers(core: Core, command: Command, reason: Callable[[Worker], str]) -> dict[str, Any]:
    """Those that serve a command, the first of them one by one; `reason`: why it does not take the call now."""
    workers = [worker for worker in core.roster.workers.values() if command in worker.commands]
    return {
        "workers_count": len(workers),
        "workers": [
            {
                "worker_id": worker.worker_id,
                "state": worker.state.value,
                "in_flight": worker.in_flight_count,
                "concurrency": worker.concurrency,
                "reason": reason(worker),
            }
            for worker in workers[:WORKERS_LISTED_COUNT_MAX]
        ],
    }


def _position(request: Request, now: float) -> int:
    """The place in its line, from 1; POSITION_MAX + 1 for all requests beyond POSITION_MAX."""
    for position, other in enumerate(islice(request.route.waiting.in_order(now), POSITION_MAX), 1):
        if other is request:
            return position
    return POSITION_MAX + 1


def _waits_for(request: Request) -> str:
    """What the request waits for, to complete "it waits ..."."""
    if request.assignment is not None:
        return f"for the answer of {request.assignment.worker.worker_id}"
    pool = request.route.pool
    if pool is None:
        return "for a worker that serves it: the broker has just started, and its workers may still come back"
    able = [member for member in pool.members if pool.trusts(member)]
    if not able:
        return "for an eligible worker: each that serves it is ejected, suspect, joining or draining"
    noun = "its worker" if len(able) == 1 else f"one of its {len(able)} workers"
    behind = f"; clients take turns, and one priority class is worth {PRIORITY_STEP_S:g} s of waiting"
    return f"for a free slot at {noun}{behind if request.route.waiting.count > 1 else ''}"


def _reason(worker: Worker, target: Target | None, pool: Pool | None, now: float) -> str:
    """Why `worker` does not take a call with this target now, in a few words."""
    if (why := mismatch(worker, target)) is not None:
        return why
    if worker.state not in TRUSTED:
        text = worker.state.value
        if worker.state is WorkerState.EJECTED:
            text += f" for {max(0.0, worker.record.ejected_until - now):.0f} s more"
        is_eligible = pool is not None and pool.holds(worker)
        panic = "; eligible all the same, because too few others are healthy" if is_eligible else ""
        return f"{text}: {worker.reason}{panic}"
    if worker.in_flight_count >= worker.capacity:
        probe = ", its limit while it is probed" if worker.capacity < worker.concurrency else ""
        return f"{worker.in_flight_count} of {worker.capacity} slots taken{probe}"
    if pool is not None and not worker.has_place_for(pool.routes[0].command.name):
        assert worker.places is not None, "none of them is free"
        return f"{len(worker.places.held_by)} of {worker.places.count_max} places taken"
    return "free"
