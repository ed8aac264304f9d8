"""One job, as a program without an event loop holds it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ...protocol.errors import WorkerTimeout
from ..answers import JobAnswer, JobView
from ..question import ANSWER_TIMEOUT_S_DEFAULT, Question
from ..wire import Wire
from . import questions
from .feed import News
from .receipts import Happening, JobReceipt, Steps
from .times import Duration


class BlockingJob:
    """As Job, with methods that block: attributes, options and errors are the same."""

    __slots__ = ("_ask", "_open_feed", "_wire", "is_duplicate", "job_id", "state", "view")

    def __init__(
        self,
        ask: Callable[[Question], Any],
        open_feed: Callable[[str, bool], AbstractContextManager[Callable[[], News]]],
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

    def result(self, *, timeout: Duration | None = None, type: Any = None) -> Any:
        """As Job.result: wait until the job has ended, and return its result."""
        try:
            result = self._ask(questions.end_of(self.job_id, timeout))
        except WorkerTimeout as error:
            raise questions.not_ended(error, self.job_id, timeout) from None
        self.state = "done"
        return result if type is None else self._wire.convert(result, type)

    def receipts(self) -> Iterator[JobReceipt]:
        """As Job.receipts: each step of the job as it happens, in order."""
        for receipt in self._happenings(wants_pieces=False):
            assert isinstance(receipt, JobReceipt), "no pieces are wanted"
            yield receipt

    def follow(self) -> Iterator[Happening]:
        """As Job.follow: the same, and in between the progress and the chunks of its attempts, from now on."""
        return self._happenings(wants_pieces=True)

    def _happenings(self, *, wants_pieces: bool) -> Iterator[Happening]:
        steps = Steps(self.job_id)
        with self._open_feed(self.job_id, wants_pieces) as next_news:
            while True:
                answer: JobAnswer = self._ask(questions.follow(self.job_id))
                happenings: Sequence[Happening] | None = steps.of_view(answer.job)
                while happenings is not None:
                    for happening in happenings:
                        if isinstance(happening, JobReceipt):
                            self.state = happening.state
                        yield happening
                        if isinstance(happening, JobReceipt) and happening.has_ended:
                            return
                    news = next_news()
                    happenings = None if news is None else steps.happening(news)

    def refresh(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> JobView:
        """Ask the broker for everything that it knows of this job."""
        answer: JobAnswer = self._ask(questions.view(self.job_id, timeout))
        self.view = answer.job
        self.state = answer.job.state
        return answer.job

    def cancel(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:
        """End it, whether it runs or not. Raises WrongState if it has ended."""
        self._ask(questions.change("cancel", self.job_id, timeout))
        self.state = "cancelled"

    def retry(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:
        """Run it again, with all attempts before it. Raises WrongState unless it is dead or cancelled."""
        self._ask(questions.change("retry", self.job_id, timeout))
        self.state = "accepted"

    def remove(self, *, timeout: Duration = ANSWER_TIMEOUT_S_DEFAULT) -> None:
        """Make the broker forget it and its result. Raises WrongState unless it has ended."""
        self._ask(questions.change("remove", self.job_id, timeout))
        self.state = None
