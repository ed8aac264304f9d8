"""Where jobs meet the broker: the pure `Jobs`, its journal, the event loop's clock and timer, and the workers' links.

Composition and time only. Whatever was noted or asked for in one turn of the loop is written as one batch at its end.
"""

import asyncio
import logging
import random
import secrets
import string
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from ..log.event import log_event
from ..protocol.errors import MAY_HAVE_RUN
from ..transport.group import SWEEP_INTERVAL_S
from .core.adopted import Adopted
from .core.core import Core
from .core.delivery.failures import LOST
from .core_timer import CoreTimer
from .events import ClockStepped
from .jobs.jobs import Jobs
from .jobs.ports import JobObserver
from .jobs.settings import JobSettings
from .journal_watch import JournalWatch
from .storage.sqlite_journal import SqliteJournal

if TYPE_CHECKING:
    from .worker_session import WorkerSession

logger = logging.getLogger(__name__)

EPOCH_LENGTH: Final = 5
"""Letters of an epoch: twelve million of them, so that two starts of a broker rarely share one. If they do, an attempt
is still recognised by its job and its number."""

CLOCK_STEP_S_MIN: Final = 0.5
"""From this much on the wall clock was set. What it drifts or is slewed between two looks is less."""

PAUSED_S_MIN: Final = 0.5
"""From this late on a check was not delayed by a busy loop. Pauses of less than a second may not be noticed: workers
have a second more to come back than they need."""

DELAY_S_MAX: Final = 60.0
"""How long the timer may run at once: a wall clock that is slewed is then looked at again soon enough."""

NEVER: Final = float("inf")


class JobDesk:
    """Serves the sessions of one broker. `open`, then `close`, in one event loop.

    `jobs`, `journal` and `watch` are for whoever shows them; only sessions change anything through `jobs`.
    """

    def __init__(
        self,
        core: Core,
        timer: CoreTimer,
        journal: SqliteJournal,
        watch: JournalWatch,
        *,
        observer: JobObserver,
        settings: JobSettings,
    ) -> None:
        self.journal = journal
        self.watch = watch
        self._core = core
        self._timer = timer
        self._is_turn_due = False
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._offset_s = 0.0
        self._check_at = 0.0
        self._closing: asyncio.Task[None] | None = None
        self.jobs = Jobs(
            core,
            journal,
            self,
            observer,
            settings,
            chance=random.random,
            make_id=new_job_id,
            wake=self._wake,
        )

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def open(self) -> None:
        """Open the journal, and begin with what is in it. Raises JournalError, JournalTaken: nothing is left open
        then."""
        self._loop = asyncio.get_running_loop()
        await self.journal.open()
        self._core.epoch = "".join(secrets.choice(string.ascii_lowercase) for _ in range(EPOCH_LENGTH))
        self._check_at = time.monotonic() + SWEEP_INTERVAL_S
        self._offset_s = time.time() - time.monotonic()
        self.jobs.open(self.now())

    def drain(self) -> None:
        """Begin no more attempts. Jobs are still accepted."""
        self.jobs.drain(self.now())
        self._end_turn()

    async def close(self) -> None:
        """Write what is left, and close the journal. What is asked for later is refused. May be called again."""
        if self._closing is None:
            self._end_turn()
            self.jobs.close(self.now())
            if self._handle is not None:
                self._handle.cancel()
            self._closing = asyncio.create_task(self.journal.close())
        await asyncio.shield(self._closing)

    # --- from sessions of workers ---

    def worker_left(self, worker_id: str) -> None:
        """Its connection is lost, and the core knows it."""
        self.jobs.worker_left(worker_id, self.now())

    def answered_late(self, msg_id: str) -> None:
        """A worker has answered an attempt that was over without it."""
        self.jobs.answered_late(msg_id, self.now())

    # --- what Jobs asks for ---

    def settled(self, worker_id: str, msg_id: str) -> None:
        """See jobs.ports.Workers."""
        worker = self._core.roster.workers.get(worker_id)
        if worker is not None:
            cast("WorkerSession", worker.port).settled(msg_id)

    def not_adopted(self, adopted: Sequence[Adopted], worker_id: str) -> None:
        """The worker whose claims were judged is gone again. What the core still has over an older link of that worker
        goes on there."""
        failure = LOST._replace(delivery=MAY_HAVE_RUN)
        for attempt in adopted:
            job_id = attempt.call.request_id
            if job_id not in attempt.requester.requests:
                attempt.requester.port.fail(job_id, failure, worker_id)

    # --- time ---

    def check(self) -> None:
        """Find out whether the wall clock was set, or the process or its machine has stood still. Call this every
        SWEEP_INTERVAL_S."""
        core_now = time.monotonic()
        offset_s = time.time() - core_now
        stepped_s = offset_s - self._offset_s
        paused_s = core_now - self._check_at
        self._check_at = core_now + SWEEP_INTERVAL_S
        by_s = paused_s if paused_s >= PAUSED_S_MIN else 0.0
        if abs(stepped_s) >= CLOCK_STEP_S_MIN:
            self._offset_s = offset_s
            log_event(logger, ClockStepped(stepped_s))
            by_s += stepped_s
        if by_s:
            self.jobs.clock_stepped(by_s, self.now())
            self._set_timer()

    def _wake(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_turn_due = False
        core_now = time.monotonic()
        self.jobs.turn_ended(self.now(), core_now)
        if self._core.next_at < self._timer.wakes_at:
            self._timer.wake_at(self._core.next_at)
        self._set_timer()

    def _set_timer(self) -> None:
        """Go off when the next thing is due."""
        at = self.jobs.next_at
        if self._handle is not None:
            if at == self._wakes_at:
                return
            self._handle.cancel()
            self._handle = None
        self._wakes_at = at
        if at < NEVER:
            delay_s = min(max(0.0, at - self.now()), DELAY_S_MAX)
            self._handle = self._loop.call_later(delay_s, self._due)

    def _due(self) -> None:
        self._handle = None
        self.check()  # after a pause nothing is judged before what workers have sent meanwhile was read
        self.jobs.advance(self.now())
        self._end_turn()


def new_job_id() -> str:
    """A job_id that no job has, and nobody can guess. Later ones are greater, so that the journal's index of them grows
    at its end."""
    return f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(8)}"
