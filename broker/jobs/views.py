"""A job as requesters see it."""

from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from ...protocol.encodings import Encoding
from ...protocol.errors import NotRepresentable
from ...protocol.job_messages import FailedAttempt, JobView
from ...protocol.transcode import transcode
from ..core.fleet.route import describe_target
from .attempts import Attempts
from .job import ORPHANED, Job
from .lanes import Lanes
from .rows import AttemptRow
from .states import Hold, JobState

ERROR_LENGTH_MAX: Final = 1000
"""Characters of each error in a view, so that those of a hundred attempts fit into a message."""

LISTED_ERROR_LENGTH_MAX: Final = 200
"""The same in a list."""

BRIEF_SIZE_BYTES: Final = 400
"""About what a view takes apart from its texts."""


class Viewer:
    """Makes views."""

    __slots__ = ("_attempts", "_lanes")

    def __init__(self, lanes: Lanes, attempts: Attempts) -> None:
        self._lanes = lanes
        self._attempts = attempts

    def brief(self, job: Job, now: float) -> JobView:
        """As in a list."""
        new = job.new
        return JobView(
            job_id=new.job_id,
            command=job.lane.command,
            state=job.state.name.lower(),
            owner=new.owner,
            submitted_at=new.submitted_at,
            priority=new.priority,
            attempt=job.attempt,
            attempts=self._attempts.attempts_max(job),
            losses=job.losses_count,
            run_at=job.run_at,
            expires_at=new.expires_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            removed_at=job.remove_at,
            worker_id=job.worker_id,
            reason=self._reason(job, now),
            code=job.code,
            error=None if job.error is None else job.error[:LISTED_ERROR_LENGTH_MAX],
            key=new.key,
            unique=new.unique_key,
            target=job.lane.target,
            schedule=new.schedule,
            data_size_bytes=job.data_size_bytes,
            result_size_bytes=job.result_size_bytes,
        )

    def whole(
        self, job: Job, encoding: Encoding, attempts: list[AttemptRow], after: list[str], now: float
    ) -> JobView:
        """With its attempts, the jobs that it waits for, and its progress."""
        view = self.brief(job, now)
        view.error = None if job.error is None else job.error[:ERROR_LENGTH_MAX]
        view.after = after
        view.failed = [
            FailedAttempt(
                row.attempt,
                row.worker_id,
                row.started_at,
                row.ended_at,
                row.code,
                row.error[:ERROR_LENGTH_MAX],
            )
            for row in attempts
        ]
        if job.progress is not None:
            progress, source = job.progress
            try:
                view.progress = progress if source is encoding else transcode(progress, source, encoding)
            except NotRepresentable:
                view.progress = UNSET
        return view

    def _reason(self, job: Job, now: float) -> str | None:
        """Completes 'it waits ...'."""
        if job.state is JobState.HELD:
            if job.held & Hold.AFTER:
                return "for jobs that must be done first"
            return f"for its turn with the key {job.new.key}"
        if job.state is JobState.ASSIGNED:
            if job.place == ORPHANED:
                return f"for {job.worker_id}, whose connection was lost, to come back"
            return None
        if job.state is not JobState.ACCEPTED:
            return None
        if job.run_at > now:
            failures_count = job.failures_count
            why = f", after its {_ordinal(failures_count)} failure" if failures_count else ""
            return f"until {_time(job.run_at)}{why}"
        lane = job.lane
        if self._lanes.slots_count(lane):
            return "for a free slot"
        which = "" if lane.target is None else f" and is {describe_target(lane.target)}"
        return f"for a worker that serves {lane.command}{which}"


def size_of(view: JobView) -> int:
    """About how many bytes it takes."""
    texts = (
        view.job_id,
        view.command,
        view.owner,
        view.error,
        view.reason,
        view.key,
        view.unique,
        view.schedule,
    )
    return BRIEF_SIZE_BYTES + sum(len(text) for text in texts if text) + len(str(view.target))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
