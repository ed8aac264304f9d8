"""Why is this waiting? What the core knows of a request in flight, as plain values for people and programs.

Reads, and changes nothing.
"""

from heapq import nsmallest
from itertools import islice
from typing import Any, Final

from .core import Core
from .fleet.route import mismatch
from .fleet.worker import TRUSTED, Worker, WorkerState
from .queue.line import PRIORITY_STEP_S
from .request import Request

POSITION_MAX: Final = 10_000
"""How far a request is looked for in its line, so that the answer takes a few milliseconds at most."""

LISTED_COUNT_MAX: Final = 20
"""Requests that are told of where none is named: a screenful."""

WORKERS_TOLD_COUNT_MAX: Final = 100
"""Workers that are told of one by one."""


def explain(core: Core, request_id: str, now: float) -> list[dict[str, Any]]:
    """Every request in flight under `request_id`, which is unique only on its requester's connection."""
    found = (requester.requests.get(request_id) for requester in core.requesters)
    return [_explain(core, request, now) for request in found if request is not None]


def longest_waiting(core: Core, now: float) -> list[dict[str, Any]]:
    """The requests that have waited longest, LISTED_COUNT_MAX at most, the longest first."""
    lines = (line for route in core.queue.routes for line in route.waiting.oldest())
    heads = (request for line in lines for request in islice(line, LISTED_COUNT_MAX))
    longest = nsmallest(LISTED_COUNT_MAX, heads, key=lambda request: request.waiting_since)
    return [_summary(request, now) for request in longest]


def _summary(request: Request, now: float) -> dict[str, Any]:
    """What is quickly told of a request."""
    return {
        "request_id": request.request_id,
        "command": request.command.name,
        "state": "waiting" if request.is_waiting else "assigned",
        "priority": request.priority,
        "age_s": round(now - request.submitted_at, 3),
        "remaining_s": round(request.deadline - now, 3),
        "queued_count": request.route.waiting.count,
        "target": request.route.target,
        "is_overloaded": request.route.overload.is_overloaded,
        "waits_for": _waits_for(request),
        "retries_count": request.retries_count,
    }


def _explain(core: Core, request: Request, now: float) -> dict[str, Any]:
    position = _position(request) if request.is_waiting else None
    workers = [worker for worker in core.roster.workers.values() if request.command in worker.commands]
    told = workers[:WORKERS_TOLD_COUNT_MAX]
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
            for assignment in (request.assignment, request.hedge)
            if assignment is not None
        ],
        "workers_count": len(workers),
        "workers": [
            {
                "worker_id": worker.worker_id,
                "state": worker.state.value,
                "in_flight": worker.in_flight_count,
                "concurrency": worker.concurrency,
                "reason": _reason(request, worker, now),
            }
            for worker in told
        ],
    }


def _position(request: Request) -> int:
    """Counted from 1, and POSITION_MAX + 1 for all that stand behind it."""
    for position, other in enumerate(islice(request.route.waiting.in_order(), POSITION_MAX), 1):
        if other is request:
            return position
    return POSITION_MAX + 1


def _waits_for(request: Request) -> str:
    """One sentence."""
    if request.assignment is not None:
        return f"for the answer of {request.assignment.worker.worker_id}"
    pool = request.route.pool
    assert pool is not None, "nobody waits for what nobody serves"
    able = [member for member in pool.members if pool in member.pools]
    if not able:
        return "for a worker that is well: each that could take it is ejected, suspect, joining or draining"
    noun = "its worker" if len(able) == 1 else f"one of its {len(able)} workers"
    ahead = request.route.waiting.count > 1
    behind = f"; one priority class is worth {PRIORITY_STEP_S:g} s of waiting" if ahead else ""
    return f"for a free slot at {noun}{behind}"


def _reason(request: Request, worker: Worker, now: float) -> str:
    """Why `worker` cannot take the request now, in a few words."""
    pool = request.route.pool
    for assignment in (request.assignment, request.hedge):
        if assignment is not None and assignment.worker is worker:
            return "has it"
    if (why := mismatch(worker, request.route.target)) is not None:
        return why
    if worker.state not in TRUSTED:
        text = worker.state.value
        if worker.state is WorkerState.EJECTED:
            text += f" for {max(0.0, worker.record.ejected_until - now):.0f} s more"
        panic = "; asked all the same, for too few others are well" if pool in worker.pools else ""
        return f"{text}: {worker.reason}{panic}"
    if worker.in_flight_count >= worker.capacity:
        probe = ", as many as it may have while it is probed" if worker.capacity < worker.concurrency else ""
        return f"{worker.in_flight_count} of {worker.capacity} slots taken{probe}"
    return "free"
