"""Claims: what a worker that connects says it still runs, and which of it goes on.

An attempt goes on if it is the latest of its job as far as anybody knows: the journal has its msg_id, or it has not
recorded the assignment, because the broker was killed right after it, and the attempt is the next one. And only at a
worker that the journal says has it, or that the job's target allows.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...protocol.messages import Claim
from ..core.adopted import Adopted
from ..core.call import Target
from ..core.fleet.route import mismatch_of
from ..core.offer import Offer
from .attempts import Attempts
from .counts import JobCounts
from .job import DISK, ORPHANED, RUNNING, STARTING, WAITING, Job
from .keys import Keys
from .lives import Lives
from .memory import Memory
from .orphans import Orphans
from .ports import Find, JournalError
from .reads import Reads
from .rows import ROWS_PER_READ_MAX, StoredJob
from .states import JobState
from .writer import Writer

TIMEOUT_S_MIN: Final = 0.001
"""Left to an attempt whose time has passed meanwhile: it ends by its timeout."""


class Claiming:
    """The claims of one worker. `unread_count`: reads that have not been answered."""

    __slots__ = ("claims", "commands", "labels", "stored", "then", "unread_count", "worker_id")

    def __init__(
        self,
        worker_id: str,
        offer: Offer,
        claims: Sequence[Claim],
        then: Callable[[list[Adopted]], None],
    ) -> None:
        self.worker_id = worker_id
        self.commands = frozenset(offer.commands)
        self.labels = offer.labels
        self.claims = claims
        self.then = then
        self.stored: dict[str, StoredJob] = {}
        self.unread_count = 0


class Adoption:
    """Judges claims."""

    __slots__ = (
        "_attempts",
        "_counts",
        "_keys",
        "_lives",
        "_memory",
        "_orphans",
        "_reads",
        "_writer",
    )

    def __init__(
        self,
        *,
        memory: Memory,
        lives: Lives,
        attempts: Attempts,
        orphans: Orphans,
        keys: Keys,
        writer: Writer,
        reads: Reads,
        counts: JobCounts,
    ) -> None:
        self._memory = memory
        self._lives = lives
        self._attempts = attempts
        self._orphans = orphans
        self._keys = keys
        self._writer = writer
        self._reads = reads
        self._counts = counts

    def claim(
        self,
        worker_id: str,
        offer: Offer,
        claims: Sequence[Claim],
        then: Callable[[list[Adopted]], None],
        now: float,
    ) -> list[Adopted] | None:
        """What goes on of what a worker says that it still runs; None: `then` is called with it later. What it had and
        does not claim is lost. Nothing goes on that is of another command than those that it offers."""
        self._attempts.worker_joined(worker_id)
        claimed = frozenset([claim.job_id for claim in claims])
        for job in self._orphans.of_worker(worker_id):
            if job.new.job_id not in claimed:
                self._attempts.lost(job, now)
        if not claims:
            return []
        claiming = Claiming(worker_id, offer, claims, then)
        job_ids = list(claimed)
        for start in range(0, len(job_ids), ROWS_PER_READ_MAX):
            claiming.unread_count += 1
            self._reads.ask(Find(job_ids[start : start + ROWS_PER_READ_MAX]), self._found, claiming)
        return None

    def _found(self, claiming: Claiming, answer: Any, now: float) -> None:
        claiming.unread_count -= 1
        if not isinstance(answer, JournalError):
            claiming.stored.update((stored.new.job_id, stored) for stored in answer)
        if claiming.unread_count:
            return
        self._attempts.hear(now)
        adopted: list[Adopted] = []
        for claim in claiming.claims:
            job = self._memory.by_id.get(claim.job_id)
            if job is None and claim.job_id in claiming.stored:
                job = self._memory.take(claiming.stored[claim.job_id])
            if job is None:
                continue
            if self._fits(job, claim, claiming):
                adopted.append(self._adopt(job, claim, claiming.worker_id, now))
            else:
                self._memory.release(job)
        claiming.then(adopted)
        self._attempts.hear(now)

    def _fits(self, job: Job, claim: Claim, claiming: Claiming) -> bool:
        if job.entry is not None or not job.is_open or job.lane.command not in claiming.commands:
            return False
        is_recorded = job.msg_id == claim.msg_id
        is_of_worker = job.worker_id == claiming.worker_id
        if not (is_recorded and is_of_worker) and not _allows(job.lane.target, claiming):
            return False
        if job.msg_id is not None:
            is_same = is_recorded and job.attempt == claim.attempt
            return is_same and (is_of_worker or job.place != RUNNING)
        if job.state is not JobState.ACCEPTED or claim.attempt != job.attempt + 1:
            return False
        return job.place != DISK or job.new.key is None or self._keys.take(job)

    def _adopt(self, job: Job, claim: Claim, worker_id: str, now: float) -> Adopted:
        attempts = self._attempts
        if job.place == ORPHANED:
            self._orphans.remove(job)
        elif job.place in {WAITING, STARTING}:
            attempts.unload(job)
        if job.state is JobState.ACCEPTED:
            self._lives.assign(job)
            job.started_at = now
        job.place = RUNNING
        job.attempt = job.number = claim.attempt
        job.msg_id = claim.msg_id
        job.worker_id = worker_id
        job.is_free_loss = False
        job.code = job.error = None
        self._writer.entry.change(job)
        self._counts.adopted_count += 1
        assert job.started_at is not None, "it is assigned"
        left_s = max(TIMEOUT_S_MIN, job.started_at + attempts.timeout_s(job) - now)
        return Adopted(claim.msg_id, attempts.requester_of(job), attempts.call_of(job), left_s)


def _allows(target: Target | None, claiming: Claiming) -> bool:
    return target is None or mismatch_of(claiming.worker_id, claiming.labels, target) is None
