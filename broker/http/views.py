"""The broker's state as plain dictionaries, for the JSON interface. Reads, and changes nothing."""

import time
from typing import TYPE_CHECKING, Any

from ..core.explain import explain, longest_waiting
from ..core.fleet.worker import Worker

if TYPE_CHECKING:
    from ..broker import Broker


def workers_view(broker: "Broker") -> dict[str, Any]:
    """Every connected worker."""
    now = time.monotonic()
    peers = {session.worker: session.link.peer for session in broker.workers.sessions}
    workers = broker.core.roster.workers.values()
    return {"workers": [_row(worker, peers.get(worker), now) for worker in workers]}


def worker_view(broker: "Broker", worker: Worker) -> dict[str, Any]:
    """One of them."""
    peers = (session.link.peer for session in broker.workers.sessions if session.worker is worker)
    return _row(worker, next(peers, None), time.monotonic())


def request_view(broker: "Broker", request_id: str) -> dict[str, Any]:
    """The requests in flight under an id, and why they are where they are."""
    return {"requests": explain(broker.core, request_id, time.monotonic())}


def waiting_view(broker: "Broker") -> dict[str, Any]:
    """Those that have waited longest for a free slot."""
    return {
        "requests": longest_waiting(broker.core, time.monotonic()),
        "queued_count": broker.core.queue.count,
    }


def _row(worker: Worker, peer: str | None, now: float) -> dict[str, Any]:
    """Seconds; `in_flight` counts taken slots; `speed` is learned, 1 is as fast as its peers."""
    return {
        "worker_id": worker.worker_id,
        "state": worker.state.value,
        "reason": worker.reason or None,
        "commands": [command.name for command in worker.commands],
        "concurrency": worker.concurrency,
        "in_flight": worker.in_flight_count,
        "weight": worker.declared_weight,
        "speed": round(worker.speed, 2),
        "labels": worker.labels,
        "peer": peer,
        "encoding": worker.port.encoding.value,
        "connected_s": round(now - worker.connected_at, 3),
        "sdk": worker.sdk,
        "succeeded_count": worker.succeeded_count,
        "failed_count": worker.failed_count,
        "ejections_count": worker.record.ejections_count,
    }


def status_view(broker: "Broker") -> dict[str, Any]:
    """The broker as a whole, and each command that it knows."""
    core = broker.core
    outcomes: dict[str, int] = {}
    commands = []
    for command in core.roster.commands.values():
        for outcome, count in command.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        commands.append(
            {
                "command": command.name,
                "worker_count": 0 if command.route.pool is None else len(command.route.pool.members),
                "queued_count": command.waiting_count,
                "strategy": command.strategy,
                "outcomes": command.outcomes,
            }
        )
    if core.unserved_count:
        outcomes["no_available_workers"] = outcomes.get("no_available_workers", 0) + core.unserved_count
    return {
        "version": broker.version,
        "state": "draining" if core.is_draining else "serving",
        "uptime_s": round(time.monotonic() - broker.started_at, 3),
        "strategy": broker.settings.strategy,
        "worker_count": len(core.roster.workers),
        "requester_count": len(broker.requesters.sessions),
        "submitted_count": core.submitted_count,
        "in_flight_count": core.in_flight_count,
        "queued_count": core.queue.count,
        "refused": core.refused,
        "counts": {
            "retried": core.retried_count,
            "reassigned": core.reassigned_count,
            "hedged": core.hedged_count,
            "hedges_won": core.hedges_won_count,
            "shed": core.queue.shed_count,
            "ejected": sum(core.health.ejections.counts.values()),
            "readmitted": core.health.ejections.readmitted_count,
            "late_responses": core.late_responses_count,
        },
        "outcomes": outcomes,
        "commands": commands,
    }
