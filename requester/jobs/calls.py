"""What Requester offers for jobs and schedules; it says how a question is asked."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Unpack

from msgspec import UNSET

from ...protocol.job_messages import Changed, Receipt
from ...protocol.limits import LIST_COUNT_DEFAULT, LIST_COUNT_MAX
from ..answers import Jobs, JobView, Schedules, ScheduleView
from ..question import ANSWER_TIMEOUT_S_DEFAULT, Question
from ..wire import Wire
from . import questions, submission
from .feed import News
from .job import Job
from .questions import Change, JobFilter
from .submission import ScheduleOptions, SubmitOptions
from .times import Duration


class JobCalls(ABC):
    """Jobs and schedules over one connection.

    Every method that asks the broker raises what a question may end with: BadRequest for an argument that breaks a
    bound, CannotConnect if there was no link in time, WorkerTimeout if there was no answer in time, ConnectionLost if
    the link broke and asking twice could do twice, and what the broker answers: Forbidden, JobsOff (it keeps no jobs),
    JournalFailed, Overloaded, RateLimited, ShuttingDown. `timeout` is for the answer.
    """

    @abstractmethod
    async def _ask(self, question: Question) -> Any:
        """Ask it, and return the message that answers it. Raises the TaskferryError that it ends with."""

    @abstractmethod
    def _open_feed(
        self, job_id: str, wants_pieces: bool
    ) -> AbstractContextManager[Callable[[], Awaitable[News]]]:
        """Inside, each call returns the next news of this job, once the broker is asked for them."""

    @property
    @abstractmethod
    def _wire(self) -> Wire:
        """The encoding of the connection."""

    async def submit(
        self,
        command: str,
        data: object = UNSET,
        *,
        answer_timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Make the broker keep this work until it has ended. Returns once it is on the broker's disk.

        `data` as in `call`; the options are those of SubmitOptions. If the link breaks, the job is submitted again
        under the same job_id, so it runs once; after `answer_timeout` without an answer it may have been accepted or
        not, and can be submitted again under the job_id that the error names.

        Raises JobIdConflict, NotUnique and UnknownJob (in `after`), too.
        """
        question = submission.submission(
            self._wire, command, data, options, questions.answer_timeout_s(answer_timeout)
        )
        receipt: Receipt = await self._ask(question)
        is_duplicate = submission.is_duplicate(receipt, question.message.job_id, options)
        return self._job(receipt.job_id, receipt.state, is_duplicate=is_duplicate)

    def _job(
        self,
        job_id: str,
        state: str | None = None,
        *,
        is_duplicate: bool = False,
        view: JobView | None = None,
    ) -> Job:
        return Job(
            self._ask, self._open_feed, self._wire, job_id, state, is_duplicate=is_duplicate, view=view
        )

    def job(self, job_id: str) -> Job:
        """The job of this id. Asks nothing yet: its methods raise UnknownJob if there is none."""
        return self._job(job_id)

    async def jobs(
        self,
        *,
        timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109  of each page
        page_count: int = LIST_COUNT_DEFAULT,
        **filter: Unpack[JobFilter],
    ) -> AsyncIterator[Job]:
        """The jobs that match everything in `filter` (see JobFilter), newest first, with their `view`.

        They are asked for in pages of `page_count` (at most 1000), as the loop gets there.
        """
        cursor = None
        while True:
            answer: Jobs = await self._ask(
                questions.page(filter, cursor, min(page_count, LIST_COUNT_MAX), timeout)
            )
            for view in answer.jobs:
                yield self._job(view.job_id, view.state, view=view)
            cursor = answer.cursor
            if cursor is None:
                return

    async def cancel_jobs(
        self,
        *,
        dry_run: bool = False,
        timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109
        **filter: Unpack[JobFilter],
    ) -> int:
        """Cancel all open jobs that match. Returns how many were, or with `dry_run` would be, cancelled."""
        return await self._change_all("cancel", filter, dry_run, timeout)

    async def retry_jobs(
        self,
        *,
        dry_run: bool = False,
        timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109
        **filter: Unpack[JobFilter],
    ) -> int:
        """Run all dead and cancelled jobs that match again. Returns how many."""
        return await self._change_all("retry", filter, dry_run, timeout)

    async def remove_jobs(
        self,
        *,
        dry_run: bool = False,
        timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109
        **filter: Unpack[JobFilter],
    ) -> int:
        """Forget all ended jobs that match, and their results. Returns how many."""
        return await self._change_all("remove", filter, dry_run, timeout)

    async def _change_all(self, kind: Change, filter: JobFilter, dry_run: bool, timeout: Duration) -> int:  # noqa: ASYNC109
        changed: Changed = await self._ask(questions.change_all(kind, filter, dry_run, timeout))
        return changed.count

    async def add_schedule(
        self,
        name: str,
        command: str,
        data: object = UNSET,
        *,
        answer_timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleView:
        """Submit a job at the times that the options say (see ScheduleOptions), until the schedule is removed. Replaces
        the schedule of this name."""
        question = submission.schedule(
            self._wire, name, command, data, options, timeout_s=questions.answer_timeout_s(answer_timeout)
        )
        answer: Schedules = await self._ask(question)
        return answer.schedules[0]

    async def schedules(
        self,
        name: str | None = None,
        *,
        timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109
    ) -> list[ScheduleView]:
        """All schedules, or the one of this name. Raises UnknownJob if it does not exist."""
        answer: Schedules = await self._ask(questions.schedules(name, timeout))
        return answer.schedules

    async def pause_schedule(self, name: str, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:  # noqa: ASYNC109
        """It runs no more until it is resumed. Raises UnknownJob if it does not exist."""
        await self._ask(questions.change_schedule("pause", name, timeout))

    async def resume_schedule(self, name: str, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:  # noqa: ASYNC109
        """It runs again, at the times from here on. Raises UnknownJob if it does not exist."""
        await self._ask(questions.change_schedule("resume", name, timeout))

    async def run_schedule(self, name: str, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> Job:  # noqa: ASYNC109
        """Run it now, besides its times. Returns the job. Raises UnknownJob if it does not exist."""
        answer: Schedules = await self._ask(questions.change_schedule("run", name, timeout))
        return self._job(answer.job_id or "")

    async def remove_schedule(self, name: str, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:  # noqa: ASYNC109
        """Forget it. Jobs that it has submitted go on. Raises UnknownJob if it does not exist."""
        await self._ask(questions.change_schedule("remove", name, timeout))
