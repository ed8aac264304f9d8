"""Logs what the core and the jobs report, as events for the operator."""

import logging

from ..log.event import Event, log_event
from ..protocol.errors import outcome_label
from . import events
from .core.fleet.route import Route, describe_target
from .core.fleet.worker import Worker, WorkerState

logger = logging.getLogger(__name__)


class EventLog:
    """The core's observer."""

    def worker_moved(self, worker: Worker, before: WorkerState) -> None:
        event = event_of_move(worker, before)
        if event is not None:
            log_event(logger, event)

    def overload_changed(self, route: Route) -> None:
        command = route.command.name
        target = "" if route.target is None else describe_target(route.target)
        if route.waiting.is_overloaded:
            log_event(logger, events.OverloadBegan(command, target, route.waiting.count))
        else:
            log_event(logger, events.OverloadEnded(command, target))


class JobLog:
    """The observer of jobs."""

    def job_dead(self, job_id: str, command: str, code: str, attempts_count: int) -> None:
        log_event(logger, events.JobDead(job_id, command, outcome_label(code), attempts_count))

    def schedule_skipped(self, name: str, reason: str) -> None:
        log_event(logger, events.ScheduleSkipped(name, reason))


def event_of_move(worker: Worker, before: WorkerState) -> Event | None:
    """The event of a worker's new state; None if that is no news: it has joined, or drains, which its session or the
    operator's request logs."""
    match worker.state:
        case WorkerState.SUSPECT:
            return events.WorkerSuspect(worker.worker_id, before.value, worker.verdict)
        case WorkerState.EJECTED:
            return events.WorkerEjected(worker.worker_id, before.value, worker.verdict)
        case WorkerState.PROBING:
            return events.WorkerProbed(worker.worker_id, before.value, worker.verdict)
        case WorkerState.HEALTHY if before is not WorkerState.JOINING or worker.canary is not None:
            return events.WorkerReadmitted(worker.worker_id, before.value)
        case _:
            return None
