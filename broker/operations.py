"""What an operator can do to a running broker, by whichever interface; each is logged."""

import logging
import time

from ..log.event import log_event
from .core.core import Core
from .events import WorkerDrained, WorkerUndrained

logger = logging.getLogger(__name__)


class Operations:
    """Acts on one core."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def drain_worker(self, worker_id: str) -> bool:
        """Assign nothing more to a worker, also after it has reconnected. False if no such worker is connected."""
        worker = self._core.roster.workers.get(worker_id)
        if worker is None:
            return False
        self._core.drain_worker(worker, time.monotonic())
        log_event(logger, WorkerDrained(worker_id, worker.state.value))
        return True

    def resume_worker(self, worker_id: str) -> bool:
        """Undo `drain_worker`. A worker that said `disconnect` itself stays drained."""
        worker = self._core.roster.workers.get(worker_id)
        if worker is None:
            return False
        self._core.resume_worker(worker, time.monotonic())
        log_event(logger, WorkerUndrained(worker_id, worker.state.value))
        return True
