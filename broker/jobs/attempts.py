"""Attempts: what the core is given, and what follows from what it reports.

To the core `Jobs` is one more client, joined once for each encoding. Its ports only note what they hear, for the core
must not be called from inside its calls.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Raw, UnsetType

from ...protocol import errors
from ...protocol.codec import CODECS
from ...protocol.encodings import Encoding
from ...protocol.limits import LOSSES_COUNT_MAX
from ...protocol.messages import Defaults
from ..core.account import NO_BOUND, Account
from ..core.call import Attempt, Call
from ..core.core import Core
from ..core.failure import Failure
from ..core.ports import Piece
from ..core.requester import Requester
from .counts import JobCounts
from .job import DISK, NO_TERMS, ORPHANED, RUNNING, STARTING, WAITING, Job
from .lanes import Lanes
from .lives import Lives
from .memory import Memory
from .orphans import Orphans
from .retries import DEAD_CODES, NO_DEFAULTS, attempts_max, judge, timeout_s
from .rows import AttemptRow, JobResult
from .states import JobState
from .writer import Writer

WAITING_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Data of jobs that wait in the core's line, over all lanes: a quarter of what the core's line may take in all."""

PAUSE_S: Final = 1.0
"""How long a lane waits after the core had no room for it."""

LEAVING_COUNT_MAX: Final = 10_000
"""Workers of which is known that they are leaving; the first of more are forgotten."""

DEFAULTS_COUNT_MAX: Final = 10_000
"""Commands of which is known what workers declare; those declared longest ago are forgotten first."""

_ASSIGNED: Final = 0
_SUCCEEDED: Final = 1
_FAILED: Final = 2
_PROGRESS: Final = 3
_CHUNK: Final = 4


class Port:
    """What the core calls, for jobs whose data is in one encoding."""

    __slots__ = ("_attempts", "encoding")

    def __init__(self, attempts: "Attempts", encoding: Encoding) -> None:
        self._attempts = attempts
        self.encoding = encoding

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        """An attempt has succeeded."""
        self._attempts.note((_SUCCEEDED, request_id, worker_id, result, encoding))

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """An attempt has failed, or never began."""
        assert request_id is not None, "all calls of jobs have one"
        self._attempts.note((_FAILED, request_id, worker_id, failure, None))

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        """An attempt was sent to a worker."""
        self._attempts.note((_ASSIGNED, request_id, worker_id, msg_id, None))

    def progress(self, request_id: str, report: Piece) -> None:
        """A worker reports progress."""
        self._attempts.note((_PROGRESS, request_id, report.worker_id, report, None))

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        """A worker sends a chunk. It is taken at once: a job does not wait for those that follow it."""
        if self._attempts.is_followed(request_id):
            self._attempts.note((_CHUNK, request_id, chunk.worker_id, chunk, None))
        return True

    def reset(self, request_id: str, attempt: int) -> None:
        """Never called: to the core an attempt is a call that may not run twice."""


class Attempts:
    """`core_now`: the core's time in this turn. `defaults`: what workers declare, by command. `waiting_count`: jobs
    that wait in the core's line, with `waiting_size_bytes` of data."""

    __slots__ = (
        "_chance",
        "_core",
        "_counts",
        "_deaf_to",
        "_heard",
        "_lanes",
        "_leaving",
        "_lives",
        "_memory",
        "_orphans",
        "_wake",
        "_writer",
        "adoption_s",
        "core_now",
        "defaults",
        "ports",
        "requesters",
        "waiting_count",
        "waiting_size_bytes",
    )

    def __init__(
        self,
        core: Core,
        *,
        memory: Memory,
        lanes: Lanes,
        lives: Lives,
        writer: Writer,
        orphans: Orphans,
        counts: JobCounts,
        chance: Callable[[], float],
        wake: Callable[[], None],
        adoption_s: float,
    ) -> None:
        self._core = core
        self._memory = memory
        self._lanes = lanes
        self._lives = lives
        self._writer = writer
        self._orphans = orphans
        self._counts = counts
        self._chance = chance
        self._wake = wake
        self._heard: list[tuple[int, str, str | None, object, Encoding | None]] = []
        self._deaf_to: str | None = None
        self._leaving: dict[str, None] = {}
        self.adoption_s = adoption_s
        self.core_now = 0.0
        self.defaults: dict[str, Defaults] = {}
        self.waiting_count = 0
        self.waiting_size_bytes = 0
        account = Account("jobs", NO_BOUND, WAITING_SIZE_BYTES_MAX)
        self.ports = {encoding: Port(self, encoding) for encoding in Encoding}
        self.requesters: dict[str, Requester] = {
            encoding.value: core.requester_joined(port, account) for encoding, port in self.ports.items()
        }

    @property
    def has_unheard(self) -> bool:
        """The core has reported something that is not dealt with yet."""
        return bool(self._heard)

    def is_followed(self, job_id: str) -> bool:
        """Connections hear of each step of this job."""
        return self._lives.followers.has(self._memory.by_id[job_id].new.seq)

    def note(self, heard: tuple[int, str, str | None, object, Encoding | None]) -> None:
        """A port was called."""
        if self._deaf_to is None or self._deaf_to != heard[1]:
            self._heard.append(heard)
            self._wake()

    # --- to the core ------------------------------------------------------------------------------------------------

    def begin(self, job: Job, now: float) -> None:
        """Give the core a job. What it says at once has been heard afterwards."""
        number = job.number = job.attempt + 1
        self._wait(job)
        job.place = WAITING
        self._core.submit(self.requesters[job.new.encoding], self._call(job, number), self.core_now)
        self.hear(now)

    def send(self, job: Job, now: float) -> None:
        """Let the attempt of a job that runs at most once begin: it is on disk that it may have. If its worker is gone
        again, nothing begins before that of another one is."""
        assert job.msg_id is not None
        requester, job_id = self.requesters[job.new.encoding], job.new.job_id
        if self._core.send_reserved(requester, job_id, job.msg_id, self.core_now):
            job.place = RUNNING
        self.hear(now)

    def not_written(self, job: Job, now: float) -> None:
        """It cannot be written that a job that runs at most once may have begun: it does not keep a slot from others
        meanwhile."""
        job.lane.not_before = now + PAUSE_S
        self._lives.withdrawn.append(job)

    def withdraw(self, job: Job, now: float) -> None:
        """Make the core end its call of a job that waits, runs or has been orphaned, without consequences for it. A
        worker that runs it gets a cancel. Whatever the core has said of it was heard before."""
        if job.place == DISK:
            return
        is_at_worker = job.place in {RUNNING, ORPHANED}
        if job.place == ORPHANED:
            self._orphans.remove(job)
        else:
            self.unload(job)
        if is_at_worker and job.new.key is not None:
            self._lives.keys.linger(job, now)
        self._leave(job, now)

    def unload(self, job: Job) -> None:
        """Make the core end its call of a job, and hear nothing of it; but of another one that gets its slot."""
        job_id = self._deaf_to = job.new.job_id
        self._core.cancel(self.requesters[job.new.encoding], job_id, self.core_now)
        self._deaf_to = None
        self._waits_no_more(job)

    def requester_of(self, job: Job) -> Requester:
        """The client of the core that its calls are of."""
        return self.requesters[job.new.encoding]

    def call_of(self, job: Job) -> Call:
        """The call of the attempt that it has now."""
        return self._call(job, job.attempt)

    def timeout_s(self, job: Job) -> float:
        """The time for one attempt of it."""
        return timeout_s(job, self.defaults.get(job.lane.command, NO_DEFAULTS))

    def attempts_max(self, job: Job) -> int:
        """How often it is tried."""
        return attempts_max(job, self.defaults.get(job.lane.command, NO_DEFAULTS))

    def _call(self, job: Job, number: int) -> Call:
        new, terms, lane = job.new, job.terms, job.lane
        declared = self.defaults.get(lane.command, NO_DEFAULTS)
        is_last = job.failures_count + 1 >= attempts_max(job, declared)
        return Call(
            new.job_id,
            lane.command,
            Raw(new.data),
            priority=new.priority,
            affinity=terms.affinity,
            trace=terms.trace,
            target=lane.target,
            attempt=Attempt(
                new.job_id, number, timeout_s(job, declared), is_last=is_last, reserves=_is_once(job)
            ),
            stream=True,
        )

    def _wait(self, job: Job) -> None:
        job.lane.wait(job)
        self.waiting_count += 1
        self.waiting_size_bytes += job.data_size_bytes

    def _waits_no_more(self, job: Job) -> None:
        if job in job.lane.waiting:
            job.lane.waits_no_more(job)
            self.waiting_count -= 1
            self.waiting_size_bytes -= job.data_size_bytes
            self._lanes.touched[job.lane] = None

    def _leave(self, job: Job, now: float) -> None:
        """The core has it no more, and nothing has come of it: it is on disk only, if it has not ended."""
        self._waits_no_more(job)
        if job.state is JobState.ASSIGNED or job.place == STARTING:
            job.attempt = job.number - 1
            self._memory.note_key(job)  # it has not started
        if job.state is JobState.ASSIGNED:
            self._lives.give_back(job, job.run_at, now)
            return
        self._lives.left(job, now)
        if not job.unwritten_count:
            self.store(job)

    def store(self, job: Job) -> None:
        """It is accepted, and on disk only now."""
        self._lanes.stored(job.lane, job.run_at)
        self._memory.release(job)

    # --- from the core ----------------------------------------------------------------------------------------------

    def declare(self, defaults: Mapping[str, Defaults]) -> None:
        """What a worker says of its commands."""
        known = self.defaults
        for command, declared in defaults.items():
            known.pop(command, None)
            known[command] = declared
        while len(known) > DEFAULTS_COUNT_MAX:
            del known[next(iter(known))]

    def worker_leaving(self, worker_id: str) -> None:
        """It said `disconnect`: losing it costs its jobs nothing."""
        self._leaving[worker_id] = None
        if len(self._leaving) > LEAVING_COUNT_MAX:
            del self._leaving[next(iter(self._leaving))]

    def worker_joined(self, worker_id: str) -> None:
        """It is back, or new."""
        self._leaving.pop(worker_id, None)

    def hear(self, now: float) -> None:
        """Deal with all that the core has reported."""
        if not self._heard:
            return
        heard, self._heard = self._heard, []
        for kind, job_id, worker_id, what, encoding in heard:
            job = self._memory.by_id[job_id]
            if kind == _ASSIGNED:
                assert worker_id is not None
                assert isinstance(what, str)
                self._assigned(job, worker_id, what, now)
            elif kind == _SUCCEEDED:
                assert encoding is not None
                self._succeeded(job, what, encoding, now)
            elif kind == _FAILED:
                assert isinstance(what, Failure)
                self._failed(job, what, now)
            else:
                assert isinstance(what, Piece)
                if kind == _PROGRESS:
                    job.progress = what.data, what.encoding
                for asker in self._lives.followers.of(job.new.seq):
                    asker.follow(job_id, what, is_chunk=kind == _CHUNK)

    def _assigned(self, job: Job, worker_id: str, msg_id: str, now: float) -> None:
        self._waits_no_more(job)
        job.place = RUNNING
        job.worker_id = worker_id
        job.msg_id = msg_id
        job.started_at = now
        if job.state is JobState.ACCEPTED:
            self._lives.assign(job)
        job.attempt = job.number
        if _is_once(job):
            self._reserved(job, now)
        elif job.state is JobState.ASSIGNED:
            self._lives.record(job, now)
        # else it is withdrawn in this turn

    def _reserved(self, job: Job, now: float) -> None:
        """A slot is reserved for a job that runs at most once."""
        job.place = STARTING
        if self._writer.is_failing:
            self.not_written(job, now)
        if job.state is JobState.ASSIGNED:
            self._lives.record_now(job)

    def _succeeded(self, job: Job, result: object, encoding: Encoding, now: float) -> None:
        self._settle(job, None, now)
        assert job.state is JobState.ASSIGNED, "what has ended is withdrawn in the same turn"
        self._counts.attempt_over("success")
        data = bytes(result) if isinstance(result, Raw) else bytes(CODECS[encoding].null)
        self._lives.succeed(job, JobResult(job.new.seq, encoding.value, data), now)

    def _failed(self, job: Job, failure: Failure, now: float) -> None:
        if not job.is_open:
            self._settle(job, failure, now)
            self._waits_no_more(job)
            self._lives.left(job, now)
            return
        code = failure.code
        if code == errors.WorkerLost.code and failure.delivery is not None:
            self._orphaned(job, now)
        elif code == errors.BrokerStopped.code:
            job.place = ORPHANED
            job.code, job.error = code, failure.text
            self._lives.unrecorded.pop(job, None)
            self._writer.entry.change(job)
        elif failure.delivery == errors.NOT_DELIVERED and code not in DEAD_CODES:
            if code != errors.NoAvailableWorkers.code:
                job.lane.not_before = now + PAUSE_S
            self._leave(job, now)
        else:
            self._over(job, failure, now)

    def _orphaned(self, job: Job, now: float) -> None:
        worker_id = job.worker_id
        assert worker_id is not None
        job.place = ORPHANED
        job.is_free_loss = worker_id in self._leaving
        self._orphans.add(job, now + self.adoption_s)

    def _over(self, job: Job, failure: Failure, now: float) -> None:
        """A worker has failed it, or given it back; or it cannot be carried to any."""
        self._settle(job, failure, now)
        self._waits_no_more(job)
        self._counts.attempt_over(errors.outcome_label(failure.code))
        if job.state is JobState.ACCEPTED:
            self._lives.left(job, now)
            self._lives.end(job, JobState.DEAD, now, failure.code, failure.text)
            return
        if failure.code == errors.WorkerStopping.code and not job.terms.at_most_once:
            self._lives.give_back(job, job.run_at, now)
            return
        if failure.code == errors.WorkerLost.code:
            self._count_loss(job, failure.text, now, is_free=False)
            return
        verdict = judge(job, failure, self.defaults.get(job.lane.command, NO_DEFAULTS), self._chance)
        job.code, job.error = failure.code, failure.text
        if verdict.is_failure:
            job.failures_count += 1
            self._record_failure(job, failure.code, failure.text, now)
        if verdict.wait_s is None:
            self._lives.left(job, now)
            self._lives.end(job, JobState.DEAD, now, failure.code, failure.text)
        else:
            self._lives.give_back(job, now + verdict.wait_s, now)

    def lost(self, job: Job, now: float) -> None:
        """Nobody came back with the attempt of an orphan."""
        self._orphans.remove(job)
        is_free = job.is_free_loss or job.code == errors.BrokerStopped.code
        self._counts.attempt_over(errors.WorkerLost.code)
        self._count_loss(job, errors.WorkerLost.message, now, is_free=is_free)

    def _count_loss(self, job: Job, text: str, now: float, *, is_free: bool) -> None:
        """An attempt is lost with what ran it. Unless that is free, a job may have only so many such losses."""
        code = errors.WorkerLost.code
        self._record_failure(job, code, text, now)
        job.code, job.error = code, text
        if not is_free:
            job.losses_count += 1
            self._counts.lost_count += 1
        if job.terms.at_most_once or job.losses_count >= LOSSES_COUNT_MAX:
            self._lives.left(job, now)
            self._lives.end(job, JobState.DEAD, now, code, text)
        else:
            self._lives.give_back(job, job.run_at, now)

    def _settle(self, job: Job, failure: Failure | None, now: float) -> None:
        """Its worker has answered, and may forget the attempt once what has become of it is on disk. A worker that has
        not answered keeps its slot until it does, and the job the place that it takes of its key."""
        if job.worker_id is None or job.msg_id is None:
            return
        if failure is None or failure.delivery is None:
            self._writer.entry.over.append((job.worker_id, job.msg_id))
        elif job.new.key is not None and failure.delivery == errors.MAY_HAVE_RUN:
            self._lives.keys.linger(job, now)

    def _record_failure(self, job: Job, code: str, text: str, now: float) -> None:
        row = AttemptRow(job.new.seq, job.attempt, job.worker_id, job.started_at, now, code, text)
        self._writer.entry.batch.attempts.append(row)


def _is_once(job: Job) -> bool:
    """It runs at most once. Most jobs have no terms, which is quickly told."""
    return job.terms is not NO_TERMS and job.terms.at_most_once
