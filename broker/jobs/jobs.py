"""Jobs: work that is kept until it has ended, on the journal, run by the core as one of its clients.

The objects that this facade is composed of own their state and their rules; it decides in which order they act. All
that is visible outside (receipts, answers, ends) happens after the commit of what it says.

Times are seconds since 1970, passed in as `now`; the core has a clock of its own, `core_now`. What the journal and the
core report is only noted, and dealt with in `turn_ended`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Raw

from ...protocol import errors
from ...protocol.job_messages import (
    Ack,
    Await,
    Greeting,
    ListJobs,
    Remove,
    Retry,
    Schedule,
    ScheduleAction,
    Submit,
)
from ...protocol.job_messages import Job as ViewJob
from ...protocol.messages import Cancel, Claim, Defaults
from ..core.adopted import Adopted
from ..core.core import Core
from ..core.failure import Failure, plain_failure
from ..core.offer import Offer
from .adoption import Adoption
from .after import After
from .attempts import Attempts
from .changes import Changes
from .commits import Commits
from .counts import JobCounts
from .following import Following
from .inbox import Inbox
from .intake import Intake
from .job import ORPHANED
from .kept import Kept
from .keys import Keys
from .lanes import Lane, Lanes
from .lingering import Lingering
from .lives import Lives
from .memory import Memory
from .orphans import Orphans
from .ports import Asker, JobObserver, JobSteps, Journal, JournalError, Opened, Opening, Workers
from .reads import Question, Reads
from .room import Room
from .schedules.schedules import Schedules
from .settings import JobSettings
from .states import JobState
from .submission import Submission
from .turns import QUESTIONS_COUNT_MAX
from .unique import Unique
from .windows import Windows
from .writer import Entry, Writer

Claimed = list[Adopted]

OPEN_RETRY_S: Final = 1.0
"""How often it is tried to read the journal at the start."""

EARLY_COUNT_MAX: Final = 10_000
"""What may be asked before the journal has been read; more is refused."""

_FAILED: Final = plain_failure(errors.JournalFailed)
_EARLY: Final = plain_failure(errors.Overloaded)
_MANY: Final = Failure(
    errors.Overloaded.code,
    f"{QUESTIONS_COUNT_MAX} questions of this connection wait for the journal (QUESTIONS_COUNT_MAX)",
)


class Jobs:
    """See the module. `counts`: for operators. `is_open`: the journal has been read. The parts are public for what
    explains and checks them: nobody else calls them."""

    __slots__ = (
        "_answers",
        "_early",
        "_early_claims",
        "_is_awake",
        "_is_drain_asked",
        "_observer",
        "_open_at",
        "_unrecorded_until",
        "_wake",
        "_workers",
        "adoption",
        "after",
        "all_lanes",
        "attempts",
        "changes",
        "commits",
        "counts",
        "following",
        "inbox",
        "intake",
        "is_open",
        "kept",
        "keys",
        "lives",
        "memory",
        "orphans",
        "reads",
        "room",
        "settings",
        "timetable",
        "windows",
        "writer",
    )

    def __init__(
        self,
        core: Core,
        journal: Journal,
        workers: Workers,
        observer: JobObserver,
        settings: JobSettings,
        *,
        chance: Callable[[], float],
        make_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        """`chance`: random numbers from 0 to 1. `make_id`: job_ids that nobody has. `wake`: called once when there is
        something for `turn_ended` to do, from wherever it came up: it must only note it."""
        self.settings = settings
        self.counts = counts = JobCounts()
        self.is_open = False
        self._observer = observer
        self._workers = workers
        self._wake = wake
        self._is_awake = False
        self._open_at = float("inf")
        self._unrecorded_until = float("inf")
        self._is_drain_asked = False
        self._answers: list[Entry | Question] = []
        self._early: list[tuple[Callable[[Any, Any, float], None], Asker, str | None, Any]] = []
        self._early_claims: list[tuple[str, Offer, Sequence[Claim], Callable[[list[Adopted]], None]]] = []
        self.all_lanes = lanes = Lanes(core)
        self.memory = memory = Memory(lanes)
        self.writer = writer = Writer(journal, self._answered)
        self.reads = reads = Reads(journal, self._answered)
        self.lives = lives = Lives(memory, lanes, writer, counts, settings)
        self.orphans = orphans = Orphans()
        self.attempts = Attempts(
            core,
            memory=memory,
            lanes=lanes,
            lives=lives,
            writer=writer,
            orphans=orphans,
            counts=counts,
            chance=chance,
            wake=self.stir,
            adoption_s=settings.adoption_s,
        )
        self.keys = keys = Keys(memory, lanes, lives, reads, Lingering(core, settings.adoption_s))
        self.after = after = After(memory, writer, reads, lives)
        self.inbox = inbox = Inbox(writer, reads, settings, counts)
        self.room = room = Room(counts, lives, settings)
        self.intake = intake = Intake(
            journal,
            memory=memory,
            lanes=lanes,
            lives=lives,
            writer=writer,
            reads=reads,
            unique=Unique(memory, lives),
            after=after,
            counts=counts,
            room=room,
            make_id=make_id,
        )
        self.timetable = schedules = Schedules(
            journal, writer=writer, intake=intake, settings=settings, counts=counts, observer=observer
        )
        lives.after, lives.keys, lives.inbox, lives.schedules = after, keys, inbox, schedules
        self._compose(journal)

    def _compose(self, journal: Journal) -> None:
        """Make the parts that no other part is made of."""
        memory, lanes, lives, writer, reads = self.memory, self.all_lanes, self.lives, self.writer, self.reads
        attempts, keys, counts, settings = self.attempts, self.keys, self.counts, self.settings
        self.windows = Windows(
            memory=memory, lanes=lanes, lives=lives, attempts=attempts, keys=keys, reads=reads
        )
        self.adoption = Adoption(
            memory=memory,
            lives=lives,
            attempts=attempts,
            orphans=self.orphans,
            keys=keys,
            writer=writer,
            reads=reads,
            counts=counts,
        )
        self.following = Following(
            journal, memory=memory, lanes=lanes, lives=lives, attempts=attempts, reads=reads
        )
        self.changes = Changes(
            journal,
            memory=memory,
            lives=lives,
            writer=writer,
            reads=reads,
            unique=Unique(memory, lives),
            after=self.after,
            room=self.room,
        )
        self.commits = Commits(
            workers=self._workers,
            observer=self._observer,
            memory=memory,
            lives=lives,
            writer=writer,
            intake=self.intake,
            attempts=attempts,
            windows=self.windows,
            following=self.following,
            after=self.after,
            inbox=self.inbox,
            counts=counts,
        )
        self.kept = Kept(memory=memory, lives=lives, reads=reads, counts=counts, settings=settings)

    def listen(self, steps: JobSteps | None) -> None:
        """Notify `steps` of each change that is written, from here on."""
        self.commits.steps = steps

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """All lanes."""
        return self.all_lanes.by_number

    @property
    def next_at(self) -> float:
        """When to call `advance` next, in seconds since 1970."""
        if not self.is_open:
            return self._open_at
        return min(
            self.windows.next_at,
            self.orphans.next_at,
            self.lives.record_at,
            self.kept.next_at,
            self.following.next_at,
            self.keys.next_at,
            self.after.next_at,
            self.timetable.next_at,
            self.writer.next_at,
        )

    def stir(self) -> None:
        """There is something for `turn_ended` to do."""
        if not self._is_awake:
            self._is_awake = True
            self._wake()

    def still_waits(self, job_id: str) -> bool:
        """Whether a job that the journal has as accepted is: its assignment is written later."""
        job = self.memory.by_id.get(job_id)
        return job is None or job.state is JobState.ACCEPTED

    # --- the start and settings -------------------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Read the journal. Until it has answered, everything that is asked waits."""
        del now
        self._open_at = float("inf")
        self.reads.ask(Opening(), self._opened)
        self.stir()

    def reconfigure(self, settings: JobSettings) -> None:
        """Change the settings. Lowered bounds refuse what is new until there is room again."""
        self.settings = self.room.settings = self.kept.settings = settings
        self.attempts.adoption_s = self.keys.lingering.adoption_s = settings.adoption_s
        self.lives.reconfigure(settings)
        self.inbox.reconfigure(settings)
        self.timetable.reconfigure(settings)

    def _opened(self, context: object, answer: Any, now: float) -> None:
        del context
        early, self._early = self._early, []
        if isinstance(answer, JournalError):
            self._open_at = now + OPEN_RETRY_S
            for _, asker, request_id, _ in early:
                asker.fail(request_id, _FAILED, None)
            return
        opened: Opened = answer
        counts, lives = self.counts, self.lives
        self.intake.seq = opened.seq_max
        self.writer.entry.batch.lanes_gone += self.all_lanes.opened(opened.lanes, opened.lane_counts)
        counts.accepted_count = sum(count.accepted_count for count in opened.lane_counts)
        counts.held_count = opened.held_count
        counts.assigned_count = len(opened.assigned)
        counts.kept.update((JobState(state), count) for state, count in opened.kept_counts.items())
        counts.open_size_bytes = opened.open_size_bytes
        counts.kept_size_bytes = opened.kept_size_bytes
        lives.owners.update(opened.open_counts)
        lives.remove_at = opened.remove_at_min or lives.remove_at
        lives.expires_at = opened.expires_at_min or lives.expires_at
        lost_at = now + self.settings.adoption_s
        for stored in opened.assigned:
            job = self.memory.take(stored)
            job.place = ORPHANED
            job.lane.assigned_count += 1
            self.orphans.add(job, lost_at)
        # After a kill workers may come back with attempts that were not recorded: they go first.
        self._unrecorded_until = now if opened.was_stopped else lost_at
        for lane in self.all_lanes.by_number.values():
            if lane.accepted_count and not opened.was_stopped:
                lane.not_before = lost_at
            self.all_lanes.touched[lane] = None
        self.keys.opened(opened, self._unrecorded_until, now)
        self.after.opened(opened)
        self.inbox.opened(opened)
        self.timetable.opened(opened)
        self.is_open = True
        claims, self._early_claims = self._early_claims, []
        for worker_id, offer, claimed, then in claims:
            self.adoption.claim(worker_id, offer, claimed, then, now)
        for call, asker, _, message in early:
            call(asker, message, now)

    def _ask(
        self,
        call: Callable[[Any, Any, float], None],
        asker: Asker,
        request_id: str | None,
        message: Any,
        now: float,
    ) -> None:
        """Call this, as soon as the journal has been read."""
        self.stir()
        if self.is_open:
            self.attempts.hear(now)
            call(asker, message, now)
        elif len(self._early) < EARLY_COUNT_MAX:
            self._early.append((call, asker, request_id, message))
        else:
            asker.fail(request_id, _EARLY, None)

    def _look_up(
        self,
        call: Callable[[Any, Any, float], None],
        asker: Asker,
        request_id: str | None,
        message: Any,
        now: float,
    ) -> None:
        """Call this, which asks the journal, unless too much of the same connection waits to be looked up."""
        if self.reads.is_full(asker):
            asker.fail(request_id, _MANY, None)
        else:
            self._ask(call, asker, request_id, message, now)

    # --- requesters -------------------------------------------------------------------------------------------------

    def submit(self, asker: Asker, message: Submit, data: Raw, now: float) -> None:
        """Keep this work: answered by its receipt, or by a failure. `data` is in the encoding of `asker`."""
        submission = Submission(
            message,
            bytes(data),
            asker.encoding.value,
            asker.owner,
            asker=asker,
            sees_all=asker.sees_all,
            client_id=self.inbox.client_of(asker),
        )
        self.stir()
        if self.is_open:
            self.intake.offer(submission, now)
        else:
            self._ask(self._offer, asker, message.request_id, submission, now)

    def view(self, asker: Asker, message: ViewJob, now: float) -> None:
        """Answer with the whole of a job."""
        self._look_up(self.following.view, asker, message.request_id, message, now)

    def await_end(self, asker: Asker, message: Await, now: float) -> None:
        """Answer with the response of a job, once it has ended."""
        self._look_up(self.following.await_end, asker, message.request_id, message, now)

    def list(self, asker: Asker, message: ListJobs, now: float) -> None:
        """Answer with a page of jobs."""
        self._look_up(self.following.list, asker, message.request_id, message, now)

    def cancel(self, asker: Asker, message: Cancel, now: float) -> None:
        """End open jobs."""
        self._look_up(self.changes.cancel, asker, message.request_id, message, now)

    def retry(self, asker: Asker, message: Retry, now: float) -> None:
        """Run dead or cancelled jobs again."""
        self._look_up(self.changes.retry, asker, message.request_id, message, now)

    def remove(self, asker: Asker, message: Remove, now: float) -> None:
        """Forget ended jobs."""
        self._look_up(self.changes.remove, asker, message.request_id, message, now)

    def schedule(self, asker: Asker, message: Schedule, data: Raw, now: float) -> None:
        """Add a schedule, or replace it."""
        self._ask(self._schedule, asker, message.request_id, (message, data), now)

    def schedules(self, asker: Asker, message: ScheduleAction, now: float) -> None:
        """List schedules, or do something with one."""
        self._ask(self.timetable.act, asker, message.request_id, message, now)

    def greet(self, asker: Asker, message: Greeting, now: float) -> None:
        """A connection says which client it is: it gets what is in that client's inbox."""
        self._look_up(self.inbox.greet, asker, message.request_id, message, now)

    def acknowledge(self, asker: Asker, message: Ack, now: float) -> None:
        """A client has dealt with messages of its inbox."""
        self._ask(self.inbox.acknowledge, asker, None, message, now)

    def asker_left(self, asker: Asker) -> None:
        """A connection has closed. Its jobs go on."""
        self.reads.asker_left(asker)
        self.following.asker_left(asker)
        self.lives.followers.asker_left(asker)
        self.inbox.asker_left(asker)

    def _offer(self, asker: Asker, submission: Submission, now: float) -> None:
        del asker
        self.intake.offer(submission, now)

    def _schedule(self, asker: Asker, message: tuple[Schedule, Raw], now: float) -> None:
        self.timetable.add(asker, message[0], message[1], now)

    # --- workers ----------------------------------------------------------------------------------------------------

    def worker_joined(
        self, worker_id: str, commands: Iterable[str], defaults: Mapping[str, Defaults], now: float
    ) -> None:
        """A worker that serves these commands, with these defaults, has joined the core, and was told which of its
        claims are settled."""
        self.attempts.declare(defaults)
        self.windows.served(commands)
        self.keys.worker_joined(worker_id, now)
        self.stir()

    def worker_left(self, worker_id: str, now: float) -> None:
        """The core knows that its connection is lost."""
        self.keys.lingering.worker_left(worker_id, now)
        self.stir()

    def answered_late(self, msg_id: str, now: float) -> None:
        """A worker has answered an attempt that was over without it."""
        if self.keys.answered(msg_id, now):
            self.stir()

    def worker_leaving(self, worker_id: str) -> None:
        """It has said `disconnect`: losing it costs its jobs nothing."""
        self.attempts.worker_leaving(worker_id)

    def claim(
        self,
        worker_id: str,
        offer: Offer,
        claims: Sequence[Claim],
        then: Callable[[Claimed], None],
        now: float,
    ) -> Claimed | None:
        """Which of the attempts that a worker with this offer still runs go on; None: `then` is called with them later.
        Call it for every worker, before it joins the core: what it had and does not claim is lost."""
        self.stir()
        if self.is_open:
            self.attempts.hear(now)
            return self.adoption.claim(worker_id, offer, claims, then, now)
        if not claims:
            return []
        self._early_claims.append((worker_id, offer, claims, then))
        return None

    # --- time and the end -------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Do what is due. Call it at `next_at`."""
        if not self.is_open:
            if now >= self._open_at:
                self.open(now)
            return
        self.attempts.hear(now)
        for job in self.orphans.due(now):
            self.attempts.lost(job, now)
        self.windows.advance(now)
        self.following.advance(now)
        self.kept.advance(now)
        self.keys.advance(now)
        self.timetable.advance(now)
        self.stir()

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, forward if `by_s` is positive, or the process or its machine has stood still for so long:
        `now` is the time after it. What waits does so for as long as before; but all workers that are away have their
        whole time to come back again, for nobody has listened to them meanwhile."""
        until = now + self.settings.adoption_s
        self.memory.clock_stepped(by_s, now)
        before = self._unrecorded_until
        self._unrecorded_until = until if now - by_s < before else now
        self.orphans.begin_again(until)
        self.all_lanes.clock_stepped(by_s, now, (before, self._unrecorded_until))
        self.keys.clock_stepped(by_s, now, until)
        for part in (self.windows, self.after, self.lives, self.kept, self.writer):
            part.clock_stepped(by_s, now)
        self.following.clock_stepped(by_s)
        self.stir()

    def drain(self, now: float) -> None:
        """Begin no more attempts. Those that run go on; what waits in the core's line is taken back in this turn."""
        del now
        self._is_drain_asked = True
        self.stir()

    def close(self, now: float) -> None:
        """It was drained, the core has stopped, and its last turn has ended: nothing comes after this. If no worker can
        have an attempt that the journal does not know of, that is noted there, so that the next broker need not wait
        for claims."""
        is_known = self.is_open and now >= self._unrecorded_until and self.windows.is_closed
        is_complete = is_known and not self.lives.unrecorded and not self.keys.lingering.stays
        if is_complete and self.intake.seq:  # for a journal without jobs no file is made
            self.writer.entry.batch.is_last = True
            self.writer.flush(now)

    def turn_ended(self, now: float, core_now: float) -> None:
        """Deal with all that was reported, give the core what may run, and hand to the journal what has changed."""
        self._is_awake = True  # nobody need be woken meanwhile
        attempts, windows = self.attempts, self.windows
        attempts.core_now = core_now
        attempts.hear(now)
        answers, self._answers = self._answers, []
        for answer in answers:
            if isinstance(answer, Question):
                answer.handler(answer.context, answer.answer, now)
            else:
                self.commits.answered(answer, now)
        if self._is_drain_asked:
            self._is_drain_asked = False
            windows.close(now)
        self._withdraw(now)
        windows.fill(now)
        self.lives.record_due(now)
        self.intake.ask(now)
        self.after.ask(now)
        self.writer.flush(now)
        self.reads.send()
        self._is_awake = False
        if self._answers or attempts.has_unheard:
            self.stir()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _answered(self, answer: Entry | Question) -> None:
        """The journal has answered."""
        self._answers.append(answer)
        self.stir()

    def _withdraw(self, now: float) -> None:
        """Take back from the core what has ended meanwhile."""
        attempts, lives = self.attempts, self.lives
        while lives.withdrawn:
            withdrawn, lives.withdrawn = lives.withdrawn, []
            for job in withdrawn:
                attempts.hear(now)  # the one before may have freed a slot for it
                attempts.withdraw(job, now)
