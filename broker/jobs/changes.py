"""What requesters do to jobs: cancel, retry and remove them, one or all that match a filter.

Many are changed a page at a time, so that neither memory nor the journal is held up; the answer comes when the last
page is on disk.

A job with a `unique` key is tried again only while no other has its place. To know that takes a second look into the
journal: first for the jobs of these keys, then once more for the job, so that both answers are as of one moment.

A dry run of retries goes through the same pages and the same rules, and notes what it would have opened. Whatever is
open can be cancelled, and whatever has ended removed: of these the journal tells the number.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ...protocol import errors
from ...protocol.job_messages import Changed, Filter, JobStateName, Remove, Retry
from ...protocol.messages import Cancel
from ..core.failure import Failure
from .after import After
from .following import FAILED, UNKNOWN, may_see
from .job import Job
from .lives import Lives
from .memory import Memory
from .ports import Asker, CountMatching, Find, FindUnique, Journal, JournalError, Select
from .reads import Reads
from .room import TRIED_KEYS_COUNT_MAX, Room, Tried, overloaded
from .rows import ROWS_PER_READ_MAX, StoredJob
from .states import ENDED, OPEN, JobState
from .unique import AGAIN, Again, Unique
from .writer import Writer

Ask = Cancel | Retry | Remove


class Action:
    """What is done to jobs in these states. `rule`: for people whose job is in another."""

    __slots__ = ("apply", "rule", "states")

    def __init__(self, states: frozenset[JobState], rule: str, apply: Callable[[Job, float], None]) -> None:
        self.states = states
        self.rule = rule
        self.apply = apply


class One:
    """A change of one job. `rivals`: jobs with its unique key; None: to be asked for."""

    __slots__ = ("action", "asker", "message", "rivals")

    def __init__(self, asker: Asker, message: Ask, action: Action) -> None:
        self.asker = asker
        self.message = message
        self.action = action
        self.rivals: list[StoredJob] | JournalError | None = None


class Bulk:
    """A change of many, with `count` jobs done so far. The next page is that `before` this seq, None: there is none.
    `rivals`: jobs with the unique keys of this page. `tried`: what a dry run has counted."""

    __slots__ = ("action", "asker", "before", "count", "filter", "message", "owner", "rivals", "tried")

    def __init__(self, asker: Asker, message: Ask, action: Action, filter: Filter, owner: str | None) -> None:
        self.asker = asker
        self.message = message
        self.action = action
        self.filter = filter
        self.owner = owner
        self.count = 0
        self.before: int | None = None
        self.rivals: list[StoredJob] | JournalError | None = None
        self.tried = Tried()


class Changes:
    """Decides who may change what, and does it."""

    __slots__ = (
        "_after",
        "_cancel",
        "_journal",
        "_lives",
        "_memory",
        "_reads",
        "_remove",
        "_retry",
        "_room",
        "_unique",
        "_writer",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        memory: Memory,
        lives: Lives,
        writer: Writer,
        reads: Reads,
        unique: Unique,
        after: After,
        room: Room,
    ) -> None:
        self._journal = journal
        self._memory = memory
        self._lives = lives
        self._writer = writer
        self._reads = reads
        self._unique = unique
        self._after = after
        self._room = room
        failed = frozenset({JobState.DEAD, JobState.CANCELLED})
        self._cancel: Final = Action(OPEN, "only an open job can be cancelled", lives.cancel)
        self._retry: Final = Action(failed, "only a dead or cancelled job can be retried", self._try_again)
        self._remove: Final = Action(ENDED, "only a job that has ended can be removed", self._forget)

    def cancel(self, asker: Asker, message: Cancel, now: float) -> None:
        """End open jobs."""
        del now
        self._change(asker, message, self._cancel)

    def retry(self, asker: Asker, message: Retry, now: float) -> None:
        """Run jobs that have failed again."""
        del now
        self._change(asker, message, self._retry)

    def remove(self, asker: Asker, message: Remove, now: float) -> None:
        """Forget jobs that have ended."""
        del now
        self._change(asker, message, self._remove)

    def _change(self, asker: Asker, message: Ask, action: Action) -> None:
        if (message.job_id is None) is (message.filter is None):
            text = "job_id, filter: give one of them"
            asker.fail(message.request_id, Failure(errors.BadRequest.code, text), None)
        elif message.filter is None:
            assert message.job_id is not None
            one = One(asker, message, action)
            self._reads.ask_for(asker, Find([message.job_id]), self._found, one, is_change=True)
        else:
            names: list[JobStateName] = [_NAMES[state] for state in sorted(action.states)]
            if message.filter.states is not None:
                names = [name for name in names if name in message.filter.states]
            if not names:
                asker.answer(Changed(message.request_id, 0, message.dry_run))
                return
            self._lives.record_all()
            matching = msgspec.structs.replace(message.filter, states=names)
            bulk = Bulk(asker, message, action, matching, None if asker.sees_all else asker.owner)
            if message.dry_run and action is not self._retry:
                self._reads.ask_for(asker, CountMatching(matching, bulk.owner), self._counted, bulk)
            else:
                self._next_page(bulk)

    # --- one --------------------------------------------------------------------------------------------------------

    def _found(self, one: One, answer: Any, now: float) -> None:
        asker, message, action = one.asker, one.message, one.action
        job_id = message.job_id
        assert job_id is not None
        rivals, one.rivals = one.rivals, None
        if isinstance(answer, JournalError) or isinstance(rivals, JournalError):
            asker.fail(message.request_id, FAILED, None)
            return
        job = self._memory.by_id.get(job_id)
        is_loaded = job is not None
        if job is None and answer:
            job = self._memory.detached(answer[0])
        if job is None or job.entry is not None or job.is_removed or not may_see(asker, job.new.owner):
            asker.fail(message.request_id, UNKNOWN, None)
            return
        if job.state not in action.states:
            text = f"job {job_id} is {job.state.name.lower()}: {action.rule}"
            asker.fail(message.request_id, Failure(errors.WrongState.code, text), None)
            return
        if action is self._retry:
            failure = self._room.refusal(job.new.owner, job.data_size_bytes)
            if failure is not None:
                asker.fail(message.request_id, failure, None)
                return
        is_unwritten = not job.is_open and job.unwritten_count > 0
        if self._journal.is_failing and (is_unwritten or not is_loaded):
            asker.fail(message.request_id, FAILED, None)  # memory must not fill up with changes
            return
        if is_unwritten:  # its end is not on disk yet
            self._reads.ask(Find([job_id]), self._found, one)
            return
        if action is self._retry and job.new.unique_key is not None:
            barred = AGAIN if rivals is None else self._unique.bars_retry(job, rivals)
            if isinstance(barred, Again):
                self._reads.ask(FindUnique([_key(job)], now), self._found_rivals, one)
                self._reads.ask(Find([job_id]), self._found, one)
                return
            if barred is not None:
                asker.fail(message.request_id, barred, None)
                return
        if message.dry_run:
            asker.answer(Changed(message.request_id, 1, True))
            return
        if not is_loaded:
            self._memory.add(job)
        action.apply(job, now)
        self._writer.entry.answer(asker, Changed(message.request_id, 1))

    def _found_rivals(self, change: One | Bulk, answer: Any, now: float) -> None:
        del now
        change.rivals = answer

    # --- many -------------------------------------------------------------------------------------------------------

    def _next_page(self, bulk: Bulk) -> None:
        query = Select(bulk.filter, bulk.owner, bulk.before, ROWS_PER_READ_MAX)
        self._reads.ask_for(bulk.asker, query, self._page, bulk, is_change=True)

    def _page(self, bulk: Bulk, answer: Any, now: float) -> None:
        if isinstance(answer, JournalError) or self._journal.is_failing:
            bulk.asker.fail(bulk.message.request_id, FAILED, None)
            return
        bulk.before = answer[-1].new.seq if len(answer) == ROWS_PER_READ_MAX else None
        bulk.rivals = []
        if bulk.action is self._retry:
            lane_of = self._memory.lane_of
            keys = {
                (lane_of(stored).command, stored.new.unique_key): None
                for stored in answer
                if stored.new.unique_key is not None
            }
            if keys:
                self._reads.ask(FindUnique(list(keys), now), self._found_rivals, bulk)
                self._reads.ask(Find([stored.new.job_id for stored in answer]), self._change_page, bulk)
                return
        self._change_page(bulk, answer, now)

    def _change_page(self, bulk: Bulk, answer: Any, now: float) -> None:
        rivals = bulk.rivals
        if isinstance(answer, JournalError) or isinstance(rivals, JournalError):
            bulk.asker.fail(bulk.message.request_id, FAILED, None)
            return
        assert rivals is not None
        for stored in answer:
            job = self._memory.by_id.get(stored.new.job_id)
            is_loaded = job is not None
            if job is None:
                job = self._memory.detached(stored)
            if not _may_change(job, bulk.action):
                continue
            if bulk.action is self._retry:
                barred = self._bars(bulk, job, rivals)
                if isinstance(barred, Again):
                    bulk.before = job.new.seq + 1  # from here on once more
                    break
                if self._room.is_full(bulk.tried):
                    bulk.before = None
                    break
                if barred:
                    continue
            bulk.count += 1
            if bulk.message.dry_run:
                bulk.tried.add(job)
                continue
            if not is_loaded:
                self._memory.add(job)
            bulk.action.apply(job, now)
        if bulk.tried.is_full:
            bound = TRIED_KEYS_COUNT_MAX
            text = f"dry_run: over {bound} unique keys (TRIED_KEYS_COUNT_MAX); give a narrower filter"
            bulk.asker.fail(bulk.message.request_id, overloaded(text), None)
        elif bulk.before is not None:
            self._next_page(bulk)
        elif bulk.message.dry_run:
            bulk.asker.answer(Changed(bulk.message.request_id, bulk.count, True))
        else:
            self._writer.entry.answer(bulk.asker, Changed(bulk.message.request_id, bulk.count))

    def _bars(self, bulk: Bulk, job: Job, rivals: list[StoredJob]) -> bool | Again:
        """Whether a job of a page cannot be tried again."""
        if self._room.refusal_after(bulk.tried, job.new.owner, job.data_size_bytes) is not None:
            return True
        if job.new.unique_key is None:
            return False
        if bulk.tried.bars(job):
            return True
        barred = self._unique.bars_retry(job, rivals)
        return barred if isinstance(barred, Again) else barred is not None

    def _counted(self, bulk: Bulk, answer: Any, now: float) -> None:
        del now
        if isinstance(answer, JournalError):
            bulk.asker.fail(bulk.message.request_id, FAILED, None)
        else:
            bulk.asker.answer(Changed(bulk.message.request_id, answer, True))

    # --- what is done -----------------------------------------------------------------------------------------------

    def _try_again(self, job: Job, now: float) -> None:
        self._lives.retry(job, now)
        self._memory.note_key(job)
        self._after.retried(job, now)

    def _forget(self, job: Job, now: float) -> None:
        del now
        self._lives.remove(job)


def _may_change(job: Job, action: Action) -> bool:
    """It is in one of the states, and that is on disk."""
    may_change = job.state in action.states and job.entry is None and not job.is_removed
    return may_change and (job.is_open or not job.unwritten_count)


def _key(job: Job) -> tuple[str, str]:
    assert job.new.unique_key is not None
    return job.lane.command, job.new.unique_key


_NAMES: Final[dict[JobState, JobStateName]] = {
    JobState.ACCEPTED: "accepted",
    JobState.HELD: "held",
    JobState.ASSIGNED: "assigned",
    JobState.DONE: "done",
    JobState.DEAD: "dead",
    JobState.CANCELLED: "cancelled",
}
