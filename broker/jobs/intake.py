"""Submissions: which become jobs, which are jobs already, which are refused.

A submission without a name is accepted at once. One with a name (a job_id of its own, a `unique` key, jobs that it
waits for) needs a look into the journal first. Those of a turn look together, and are decided one after another, in the
order in which they came: memory has what was decided before and is not on disk yet, so that of a thousand that race for
one name one is accepted.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from ...protocol import errors
from ...protocol.job_messages import Receipt
from ...protocol.limits import DELAY_S_MAX, PRIORITY_DEFAULT
from ..core.failure import Failure
from .after import After
from .counts import JobCounts
from .followers import FULL
from .job import Job, encode_terms, identity_of, terms_of
from .lanes import LANES_COUNT_MAX, Lane, Lanes
from .lives import Lives
from .memory import Memory
from .ports import Find, FindUnique, Journal, JournalError
from .reads import Reads
from .room import Room, overloaded
from .rows import ROWS_PER_READ_MAX, NewJob, StoredJob
from .submission import Submission
from .unique import Again, Unique
from .writer import Owed, Writer

PENDING_COUNT_MAX: Final = 100_000
PENDING_SIZE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Submissions in memory that are not on disk yet, and their data: more than a healthy disk ever has to catch up
with."""

TIME_MAX: Final = 253_402_300_800.0
"""The year 10000: a later time is an error of its sender."""

DIGEST_SIZE_BYTES: Final = 16

NOT_WRITTEN: Final = Failure(
    errors.JournalFailed.code, errors.JournalFailed.message, None, errors.NOT_DELIVERED
)
"""What a submission gets that is not on disk."""


class Group:
    """Submissions that look into the journal together."""

    __slots__ = ("by_id", "by_unique", "error", "job_ids", "keys", "submissions", "unread_count")

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.job_ids: dict[str, None] = {}
        self.keys: dict[tuple[str, str], None] = {}
        self.by_id: dict[str, StoredJob] = {}
        self.by_unique: dict[tuple[str, str], list[StoredJob]] = {}
        self.unread_count = 0
        self.error: JournalError | None = None


class Intake:
    """`pending_count` submissions with `pending_size_bytes` of data are not on disk yet. `seq`: the last one given."""

    __slots__ = (
        "_after",
        "_counts",
        "_groups",
        "_journal",
        "_lanes",
        "_lives",
        "_make_id",
        "_memory",
        "_reads",
        "_room",
        "_unique",
        "_writer",
        "pending_count",
        "pending_size_bytes",
        "seq",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        memory: Memory,
        lanes: Lanes,
        lives: Lives,
        writer: Writer,
        reads: Reads,
        unique: Unique,
        after: After,
        counts: JobCounts,
        room: Room,
        make_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._memory = memory
        self._lanes = lanes
        self._lives = lives
        self._writer = writer
        self._reads = reads
        self._unique = unique
        self._after = after
        self._counts = counts
        self._make_id = make_id
        self._groups: list[Group] = []
        self._room = room
        self.seq = 0
        self.pending_count = 0
        self.pending_size_bytes = 0

    def offer(self, submission: Submission, now: float) -> None:
        """Accept it, now or once the journal has answered, or refuse it."""
        message = submission.message
        failure = self._refusal(submission, now)
        if failure is not None:
            self.refuse(submission, failure)
            return
        self.pending_count += 1
        self.pending_size_bytes += len(submission.data)
        key = self._unique.key_of(message)
        if message.job_id is None and key is None and not message.after:
            self._accept(submission, self._make_id(), None, [], now)
            return
        group = self._groups[-1] if self._groups else Group()
        if (
            len(group.job_ids) + len(message.after) >= ROWS_PER_READ_MAX
            or len(group.keys) >= ROWS_PER_READ_MAX
        ):
            group = Group()
        if not group.submissions:
            self._groups.append(group)
        group.submissions.append(submission)
        if message.job_id is not None:
            group.job_ids[message.job_id] = None
        group.job_ids.update(dict.fromkeys(message.after))
        if key is not None:
            group.keys[key] = None

    def ask(self, now: float) -> None:
        """At the end of the turn: look into the journal for the submissions of this turn that have names."""
        if not self._groups:
            return
        groups, self._groups = self._groups, []
        for group in groups:
            if group.keys:
                since = min(
                    self._unique.since(submission.message, now)
                    for submission in group.submissions
                    if self._unique.key_of(submission.message) is not None
                )
                group.unread_count += 1
                self._reads.ask(FindUnique(list(group.keys), since), self._found_unique, group)
            if group.job_ids:
                group.unread_count += 1
                self._reads.ask(Find(list(group.job_ids)), self._found, group)

    def refuse(self, submission: Submission, failure: Failure) -> None:
        """Answer that it is not accepted."""
        self._counts.refuse(failure.code)
        submission.asker.fail(submission.message.request_id, failure, None)

    def written(self, job: Job) -> None:
        """A job is on disk, or could not be written."""
        job.entry = None
        self.pending_count -= 1
        self.pending_size_bytes -= len(job.new.data)

    # --- refusals ---------------------------------------------------------------------------------------------------

    def _refusal(self, submission: Submission, now: float) -> Failure | None:
        """Why nothing can be accepted, or not this."""
        message = submission.message
        if self._journal.is_failing:
            return NOT_WRITTEN
        if message.delay is not None and message.run_at is not None:
            return _bad("delay, run_at: give one of them")
        if message.run_at is not None and not 0 <= message.run_at <= now + DELAY_S_MAX:
            return _bad("run_at: seconds since 1970, at most a year from now")
        expires_at = message.expires_at
        if expires_at is not None and not now < expires_at <= TIME_MAX:
            return _bad("expires_at: seconds since 1970, later than now")
        size_bytes = len(submission.data)
        if self.pending_count >= PENDING_COUNT_MAX:
            return overloaded(f"{PENDING_COUNT_MAX} submissions wait for the disk (PENDING_COUNT_MAX)")
        if self.pending_size_bytes + size_bytes > PENDING_SIZE_BYTES_MAX:
            return overloaded(
                f"{PENDING_SIZE_BYTES_MAX} bytes of submissions wait for the disk (PENDING_SIZE_BYTES_MAX)"
            )
        failure = self._room.refusal(submission.owner, size_bytes)
        if failure is not None:
            return failure
        if message.receipts and self._lives.followers.is_full:
            return FULL
        return None

    # --- decisions --------------------------------------------------------------------------------------------------

    def _found_unique(self, group: Group, answer: Any, now: float) -> None:
        if isinstance(answer, JournalError):
            group.error = answer
        else:
            for stored in answer:
                lane = self._lanes.by_number[stored.new.lane]
                group.by_unique.setdefault((lane.command, stored.new.unique_key), []).append(stored)
        self._answered(group, now)

    def _found(self, group: Group, answer: Any, now: float) -> None:
        if isinstance(answer, JournalError):
            group.error = answer
        else:
            group.by_id.update((stored.new.job_id, stored) for stored in answer)
        self._answered(group, now)

    def _answered(self, group: Group, now: float) -> None:
        group.unread_count -= 1
        if group.unread_count:
            return
        for submission in group.submissions:
            is_failing = group.error is not None or self._journal.is_failing
            failure = NOT_WRITTEN if is_failing else self._decide(submission, group, now)
            if failure is not None:
                self._give_up(submission)
                self.refuse(submission, failure)

    def _decide(self, submission: Submission, group: Group, now: float) -> Failure | None:
        """Accept it, answer it as a duplicate, or say why it is refused."""
        message = submission.message
        job_id = message.job_id
        digest = None
        if job_id is None:
            job_id = self._make_id()
        else:
            digest = self._digest(submission)
            known = self._memory.by_id.get(job_id) or group.by_id.get(job_id)
            if isinstance(known, Job) and known.is_removed:  # its name is free as soon as that is on disk
                self._offer_again(submission, now)
                return None
            if known is not None:
                if known.new.digest != digest:
                    return Failure(
                        errors.JobIdConflict.code,
                        f"job_id: another job has the id {job_id!r}",
                        None,
                        errors.NOT_DELIVERED,
                    )
                self._duplicate(submission, known)
                return None
        seqs: list[int] = []
        if message.after:
            found = {name: self._memory.by_id.get(name) or group.by_id.get(name) for name in message.after}
            checked = self._after.check(
                submission, {name: job for name, job in found.items() if job is not None}
            )
            if isinstance(checked, Failure):
                return checked
            seqs = checked
        key = self._unique.key_of(message)
        if key is not None:
            verdict = self._unique.decide(submission, group.by_unique.get(key, []), now)
            if isinstance(verdict, Failure):
                return verdict
            if isinstance(verdict, Again):
                self._offer_again(submission, now)
                return None
            if verdict is not None:
                self._duplicate(submission, verdict)
                return None
        self._accept(submission, job_id, digest, seqs, now)
        return None

    def _duplicate(self, submission: Submission, known: Job | StoredJob) -> None:
        """It is this job already: say so, after what is said of that is on disk."""
        self._give_up(submission)
        job = known if isinstance(known, Job) else self._memory.by_id.get(known.new.job_id)
        if job is None:
            assert isinstance(known, StoredJob)
            job = self._memory.detached(known)
        entry = self._writer.entry if job.entry is None else job.entry
        entry.receipts.append(
            Owed(
                submission.asker,
                job,
                Receipt(submission.message.request_id, job.new.job_id, job.state.name.lower(), True),
            )
        )

    def _offer_again(self, submission: Submission, now: float) -> None:
        self._give_up(submission)
        self.offer(submission, now)

    def _give_up(self, submission: Submission) -> None:
        self.pending_count -= 1
        self.pending_size_bytes -= len(submission.data)

    def _digest(self, submission: Submission) -> bytes:
        """Of all that makes it the same work."""
        digest = blake2b(identity_of(submission.message, submission.owner), digest_size=DIGEST_SIZE_BYTES)
        digest.update(submission.encoding.encode())
        digest.update(submission.data)
        return digest.digest()

    def _accept(
        self, submission: Submission, job_id: str, digest: bytes | None, seqs: list[int], now: float
    ) -> None:
        message = submission.message
        lane = self._lanes.find(message.command, message.target) or self._new_lane(submission)
        if lane is None:
            self._give_up(submission)
            self.refuse(submission, overloaded(f"jobs wait in {LANES_COUNT_MAX} lanes (LANES_COUNT_MAX)"))
            return
        terms = terms_of(message)
        self.seq += 1
        new = NewJob(
            self.seq,
            job_id,
            digest,
            lane.number,
            submission.owner,
            submission.client_id,
            now,
            PRIORITY_DEFAULT if message.priority is None else message.priority,
            message.expires_at,
            message.key,
            None if terms.unique is None else terms.unique.key,
            submission.schedule,
            encode_terms(terms),
            submission.encoding,
            submission.data,
        )
        run_at = now
        if message.delay is not None:
            run_at = now + message.delay
        elif message.run_at is not None and message.run_at > now:
            run_at = message.run_at
        job = Job(new, terms, lane, run_at)
        self._lives.accept(job)
        asker = submission.asker
        self._writer.entry.receipts.append(Owed(asker, job, Receipt(message.request_id, job_id, "")))
        if message.receipts:
            self._lives.followers.add(new.seq, asker)
        if seqs or submission.waits_for:
            self._after.added(job, seqs + submission.waits_for, now)

    def _new_lane(self, submission: Submission) -> Lane | None:
        if len(self._lanes.by_number) >= LANES_COUNT_MAX:
            return None
        return self._lanes.add(submission.message.command, submission.message.target)


def _bad(text: str) -> Failure:
    return Failure(errors.BadRequest.code, text, None, errors.NOT_DELIVERED)
