"""The broker's state as plain dictionaries, for the JSON interface. Reads, and changes nothing."""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..broker import Broker


def workers_view(broker: "Broker") -> dict[str, Any]:
    """Every connected worker. Seconds; `in_flight` counts taken slots."""
    now = time.monotonic()
    links = {session.worker: session for session in broker.worker_sessions}
    rows = []
    for worker in broker.core.roster.workers.values():
        session = links.get(worker)
        rows.append(
            {
                "worker_id": worker.worker_id,
                "state": worker.state.value,
                "commands": [command.name for command in worker.commands],
                "concurrency": worker.concurrency,
                "in_flight": worker.in_flight_count,
                "weight": worker.weight,
                "labels": worker.labels,
                "peer": session.link.peer if session is not None else None,
                "encoding": worker.port.encoding.value,
                "connected_s": round(now - worker.connected_at, 3),
                "sdk": worker.sdk,
                "succeeded_count": worker.succeeded_count,
                "failed_count": worker.failed_count,
            }
        )
    return {"workers": rows}


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
                "worker_count": 0 if command.pool is None else len(command.pool.members),
                "queued_count": command.waiting.count,
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
        "requester_count": len(broker.requester_sessions),
        "submitted_count": core.submitted_count,
        "in_flight_count": core.in_flight_count,
        "queued_count": core.waiting_count,
        "refused": core.refused,
        "outcomes": outcomes,
        "commands": commands,
    }
