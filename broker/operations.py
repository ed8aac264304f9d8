"""What an operator can do to a running broker, by whichever interface; each is logged."""

import logging
import time
from typing import Final

from ..log.event import log_event
from .core.core import Core
from .entrance import Entrance
from .events import ConnectionKicked, WorkerDrained, WorkerUndrained

logger = logging.getLogger(__name__)

KICKED: Final = "kicked by an operator"


class Operations:
    """Acts on one core, and on the connections that have passed one entrance."""

    def __init__(self, core: Core, entrance: Entrance) -> None:
        self._core = core
        self._entrance = entrance

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

    def kick(self, connection_id: str, why: str = "") -> bool:
        """Close a connection; its peer gets the reason, and may connect again. False if there is none with this id."""
        reason = f"{KICKED}: {why}" if why else KICKED
        entrant = self._entrance.kick(connection_id, reason)
        if entrant is None:
            return False
        log_event(
            logger,
            ConnectionKicked(
                entrant.port, connection_id, entrant.login.identity.name, entrant.link.peer, reason
            ),
        )
        return True
