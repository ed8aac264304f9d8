"""One job, as an asynchronous program holds it."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any

from ...protocol.errors import WorkerTimeout
from ..answers import JobAnswer, JobView
from ..question import ANSWER_TIMEOUT_S_DEFAULT, Question
from ..wire import Wire
from . import questions
from .feed import News
from .receipts import Happening, JobReceipt, Steps
from .times import Duration

OpenFeed = Callable[[str, bool], AbstractContextManager[Callable[[], Awaitable[News]]]]
"""Takes a job_id, and whether its progress and chunks are wanted. Inside, each call returns the next news of the job,
once the broker is asked for them."""


class Job:
    """A job at the broker, by its `job_id`. Holding it keeps nothing alive: any program may follow any job.

    `state` is as last heard: in the receipt, by `refresh`, or in a list; None if nothing was heard yet. `view`:
    everything that was last heard. `is_duplicate`: it was there already when it was submitted.

    Each method raises UnknownJob if there is no such job, or not for this identity, and what else a question may end
    with: CannotConnect, WorkerTimeout (no answer in time), Forbidden, JobsOff, JournalFailed. `timeout` is for the
    answer.
    """

    __slots__ = ("_ask", "_open_feed", "_wire", "is_duplicate", "job_id", "state", "view")

    def __init__(
        self,
        ask: Callable[[Question], Awaitable[Any]],
        open_feed: OpenFeed,
        wire: Wire,
        job_id: str,
        state: str | None = None,
        *,
        is_duplicate: bool = False,
        view: JobView | None = None,
    ) -> None:
        self._ask = ask
        self._open_feed = open_feed
        self._wire = wire
        self.job_id = job_id
        self.state = state
        self.is_duplicate = is_duplicate
        self.view = view

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.job_id} {self.state or 'not asked yet'}>"

    async def result(self, *, timeout: Duration | None = None, type: Any = None) -> Any:  # noqa: ASYNC109  the broker keeps it too
        """Wait until the job has ended, through restarts of the broker, and return its result.

        `timeout`: at most so long, by default as long as it takes; 0 returns what is there. `type`: convert the result
        to this type, as msgspec does. Raises the TaskferryError that the job ended with, and JobNotEnded after
        `timeout`: the job goes on then.
        """
        try:
            result = await self._ask(questions.end_of(self.job_id, timeout))
        except WorkerTimeout as error:
            raise questions.not_ended(error, self.job_id, timeout) from None
        self.state = "done"
        return result if type is None else self._wire.convert(result, type)

    async def receipts(self) -> AsyncIterator[JobReceipt]:
        """Each step of the job as it happens, in order: it is accepted, each time an attempt begins, and its end.

        The first ones come at once, with all that has happened before. Waits as long as it takes, through restarts of
        the broker: after a broken link it asks again, and goes on with what happened meanwhile. Any number of programs
        may follow a job. Raises UnknownJob if there is no such job, or none any more, and what else a question may end
        with: Overloaded (the broker has too many followers), Forbidden, JobsOff, JournalFailed.
        """
        async with aclosing(self._happenings(wants_pieces=False)) as happenings:
            async for receipt in happenings:
                assert isinstance(receipt, JobReceipt), "no pieces are wanted"
                yield receipt

    def follow(self) -> AsyncGenerator[Happening, None]:
        """The same, and in between what the attempts report of their progress and send as chunks, from now on: each
        item is a JobReceipt, a Progress or a JobChunk. The job does not wait for whoever follows it; where a chunk is
        missing, `sequence` shows it.
        """
        return self._happenings(wants_pieces=True)

    async def _happenings(self, *, wants_pieces: bool) -> AsyncGenerator[Happening, None]:
        steps = Steps(self.job_id)
        with self._open_feed(self.job_id, wants_pieces) as next_news:
            while True:
                answer: JobAnswer = await self._ask(questions.follow(self.job_id))
                happenings: Sequence[Happening] | None = steps.of_view(answer.job)
                while happenings is not None:
                    for happening in happenings:
                        if isinstance(happening, JobReceipt):
                            self.state = happening.state
                        yield happening
                        if isinstance(happening, JobReceipt) and happening.has_ended:
                            return
                    news = await next_news()
                    happenings = None if news is None else steps.happening(news)

    async def refresh(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> JobView:  # noqa: ASYNC109
        """Ask the broker for everything that it knows of this job."""
        answer: JobAnswer = await self._ask(questions.view(self.job_id, timeout))
        self.view = answer.job
        self.state = answer.job.state
        return answer.job

    async def cancel(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:  # noqa: ASYNC109
        """End it, whether it runs or not. Raises WrongState if it has ended."""
        await self._ask(questions.change("cancel", self.job_id, timeout))
        self.state = "cancelled"

    async def retry(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:  # noqa: ASYNC109
        """Run it again, with all attempts before it. Raises WrongState unless it is dead or cancelled."""
        await self._ask(questions.change("retry", self.job_id, timeout))
        self.state = "accepted"

    async def remove(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:  # noqa: ASYNC109
        """Make the broker forget it and its result. Raises WrongState unless it has ended."""
        await self._ask(questions.change("remove", self.job_id, timeout))
        self.state = None
