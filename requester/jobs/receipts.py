"""The receipts of a job: one for each step of it, in order, each once.

The broker sends steps as they happen, over one link. What happened before, or while there was no link, is in its answer
to the question what is known of the job; so the steps are put together from both.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ...protocol.job_messages import JobAssigned, JobEnded
from ..answers import ENDED_STATES, Chunk, JobView
from ..answers import Progress as Report
from ..progress import Progress, progress_of
from .feed import Piece


class JobReceipt(Struct, frozen=True):
    """One step of a job.

    `state`: `accepted`; `held`, if it has to wait for other jobs first; `assigned`, whenever an attempt begins; in the
    end `done`, `dead` or `cancelled`. `attempt`, `worker_id`: the attempt that began last, 0 and None before the first.
    `code`, `error`: why it is dead or was cancelled.
    """

    job_id: str
    state: str
    attempt: int = 0
    worker_id: str | None = None
    code: str | None = None
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        """It is the last one."""
        return self.state in ENDED_STATES


class JobChunk(Struct, frozen=True):
    """What an attempt of a job has sent before its end. `sequence`: 1, 2, 3 ... within the attempt; where one is
    missing, it came while nobody listened, or faster than it was read."""

    job_id: str
    attempt: int
    sequence: int
    data: Any


Happening = JobReceipt | JobChunk | Progress
"""What `follow` gives."""


class Steps:
    """What was last heard of a job, and so what is new."""

    __slots__ = ("_attempt", "_is_known", "_job_id", "_worker_id")

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._is_known = False
        self._attempt = 0
        self._worker_id: str | None = None

    def of_view(self, view: JobView) -> list[JobReceipt]:
        """The receipts of what has happened until now."""
        receipts = []
        if not self._is_known:
            self._is_known = True
            is_held = view.state == "held" and not view.attempt
            receipts.append(JobReceipt(self._job_id, "held" if is_held else "accepted"))
        for failed in view.failed:
            receipts += self._assigned(failed.attempt, failed.worker_id)
        receipts += self._assigned(view.attempt, view.worker_id)
        if view.has_ended:
            receipts.append(self._ended(view.state, view.code, view.error))
        return receipts

    def happening(self, news: JobAssigned | JobEnded | Piece) -> Sequence[Happening]:
        """What `of_news` gives, or what has come of an attempt."""
        match news:
            case Chunk():
                return [JobChunk(self._job_id, news.attempt, news.sequence, news.data)]
            case Report():
                return [progress_of(news.data, news.attempt)]
            case _:
                return self.of_news(news)

    def of_news(self, news: JobAssigned | JobEnded) -> list[JobReceipt]:
        """The receipt of what happens now, unless it has been heard of."""
        match news:
            case JobAssigned():
                return self._assigned(news.attempt, news.worker_id)
            case JobEnded():
                return [self._ended(news.state, news.code, news.error)]

    def _assigned(self, attempt: int, worker_id: str | None) -> list[JobReceipt]:
        """An attempt that was given back costs none: the next one, on another worker, has the same number."""
        is_known = attempt < self._attempt or (attempt, worker_id) == (self._attempt, self._worker_id)
        if worker_id is None or is_known:
            return []
        self._attempt, self._worker_id = attempt, worker_id
        return [JobReceipt(self._job_id, "assigned", attempt, worker_id)]

    def _ended(self, state: str, code: str | None, error: str | None) -> JobReceipt:
        if state == "done":  # what is known is of an earlier attempt
            code = error = None
        return JobReceipt(self._job_id, state, self._attempt, self._worker_id, code, error)
