"""What requesters do to jobs: cancel, retry and remove them, one or all that match a filter.

Many are changed a page at a time, so that neither memory nor the journal is held up; the answer comes when the last
page is on disk.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ...protocol import errors
from ...protocol.job_messages import Changed, Filter, JobStateName, Remove, Retry
from ...protocol.messages import Cancel
from ..core.failure import Failure
from .after import After
from .counts import JobCounts
from .following import FAILED, UNKNOWN, may_see
from .job import Job
from .lives import Lives
from .memory import Memory
from .ports import Asker, CountMatching, Find, Journal, JournalError, Select
from .reads import Reads
from .rows import ROWS_PER_READ_MAX
from .settings import JobSettings
from .states import ENDED, OPEN, JobState
from .writer import Writer

Ask = Cancel | Retry | Remove


class Action:
    """What is done to jobs in these states. `rule`: for people whose job is in another."""

    __slots__ = ("apply", "rule", "states")

    def __init__(self, states: frozenset[JobState], rule: str, apply: Callable[[Job, float], None]) -> None:
        self.states = states
        self.rule = rule
        self.apply = apply


class Bulk:
    """A change of many, with `count` jobs done so far."""

    __slots__ = ("action", "asker", "count", "filter", "message", "owner")

    def __init__(self, asker: Asker, message: Ask, action: Action, filter: Filter, owner: str | None) -> None:
        self.asker = asker
        self.message = message
        self.action = action
        self.filter = filter
        self.owner = owner
        self.count = 0


class Changes:
    """Decides who may change what, and does it."""

    __slots__ = (
        "_after",
        "_cancel",
        "_counts",
        "_journal",
        "_lives",
        "_memory",
        "_reads",
        "_remove",
        "_retry",
        "_writer",
        "settings",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        memory: Memory,
        lives: Lives,
        writer: Writer,
        reads: Reads,
        after: After,
        counts: JobCounts,
        settings: JobSettings,
    ) -> None:
        self._journal = journal
        self._memory = memory
        self._lives = lives
        self._writer = writer
        self._reads = reads
        self._after = after
        self._counts = counts
        self.settings = settings
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
            self._reads.ask(Find([message.job_id]), self._found, (asker, message, action))
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
            if message.dry_run:
                self._reads.ask(CountMatching(matching, bulk.owner), self._counted, bulk)
            else:
                self._next_page(bulk, None)

    # --- one --------------------------------------------------------------------------------------------------------

    def _found(self, context: tuple[Asker, Ask, Action], answer: Any, now: float) -> None:
        asker, message, action = context
        job_id = message.job_id
        assert job_id is not None
        if isinstance(answer, JournalError):
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
        if message.dry_run:
            asker.answer(Changed(message.request_id, 1, True))
            return
        if action is self._retry and (failure := self._no_room()) is not None:
            asker.fail(message.request_id, failure, None)
            return
        if not job.is_open and job.unwritten_count:  # its end is not on disk yet
            if self._journal.is_failing:
                asker.fail(message.request_id, FAILED, None)
            else:
                self._reads.ask(Find([job_id]), self._found, context)
            return
        if not is_loaded:
            self._memory.add(job)
        action.apply(job, now)
        self._writer.entry.answer(asker, Changed(message.request_id, 1))

    def _no_room(self) -> Failure | None:
        bound = self.settings.open_count_max
        if self._counts.open_count < bound:
            return None
        return Failure(errors.Overloaded.code, f"{bound} jobs are open (open_count_max)")

    # --- many -------------------------------------------------------------------------------------------------------

    def _next_page(self, bulk: Bulk, before: int | None) -> None:
        self._reads.ask(Select(bulk.filter, bulk.owner, before, ROWS_PER_READ_MAX), self._page, bulk)

    def _page(self, bulk: Bulk, answer: Any, now: float) -> None:
        if isinstance(answer, JournalError):
            bulk.asker.fail(bulk.message.request_id, FAILED, None)
            return
        is_full = False
        for stored in answer:
            job = self._memory.take(stored)
            may_change = job.state in bulk.action.states and job.entry is None and not job.is_removed
            if not may_change or (not job.is_open and job.unwritten_count):
                self._memory.release(job)
                continue
            if bulk.action is self._retry and self._no_room() is not None:
                self._memory.release(job)
                is_full = True
                break
            bulk.action.apply(job, now)
            bulk.count += 1
        if len(answer) == ROWS_PER_READ_MAX and not is_full:
            self._next_page(bulk, answer[-1].new.seq)
        else:
            self._writer.entry.answer(bulk.asker, Changed(bulk.message.request_id, bulk.count))

    def _counted(self, bulk: Bulk, answer: Any, now: float) -> None:
        del now
        if isinstance(answer, JournalError):
            bulk.asker.fail(bulk.message.request_id, FAILED, None)
        else:
            bulk.asker.answer(Changed(bulk.message.request_id, answer, True))

    # --- what is done -----------------------------------------------------------------------------------------------

    def _try_again(self, job: Job, now: float) -> None:
        self._lives.retry(job, now)
        self._after.retried(job, now)

    def _forget(self, job: Job, now: float) -> None:
        del now
        self._lives.remove(job)


_NAMES: Final[dict[JobState, JobStateName]] = {
    JobState.ACCEPTED: "accepted",
    JobState.HELD: "held",
    JobState.ASSIGNED: "assigned",
    JobState.DONE: "done",
    JobState.DEAD: "dead",
    JobState.CANCELLED: "cancelled",
}
