"""What the core tells of its workers and queues, as log lines for the person who runs the broker."""

import logging
from typing import Final

from .core.route import Route, describe_target
from .core.worker import Worker, WorkerState

logger = logging.getLogger(__name__)

LEVELS: Final = {
    WorkerState.EJECTED: logging.WARNING,
    WorkerState.SUSPECT: logging.WARNING,
}
"""Of what needs a look; all else is good news or asked for."""


class EventLog:
    """The core's observer."""

    def worker_moved(self, worker: Worker, before: WorkerState) -> None:
        reason = f": {worker.reason}" if worker.reason else ""
        logger.log(
            LEVELS.get(worker.state, logging.INFO),
            "worker %s is %s (was %s)%s",
            worker.worker_id,
            worker.state.value,
            before.value,
            reason[:200],
        )

    def overload_changed(self, route: Route) -> None:
        target = "" if route.target is None else f" for {describe_target(route.target)}"
        if route.overload.is_overloaded:
            logger.warning(
                "%s%s is overloaded: %d requests wait; newest first now, the oldest are refused",
                route.command.name,
                target,
                route.waiting.count,
            )
        else:
            logger.info("%s%s is no longer overloaded", route.command.name, target)
