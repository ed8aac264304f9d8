"""What is asked about jobs and schedules that are there already."""

import math
from collections.abc import Mapping
from typing import Final, Literal, TypedDict

from ...protocol.errors import BadRequest, WorkerTimeout
from ...protocol.job_messages import Await, Filter, Job, ListJobs, Remove, Retry, ScheduleAction
from ...protocol.messages import Cancel
from ..question import ANSWER_TIMEOUT_S_MAX, IfLost, Question
from .submission import checked
from .times import Duration, Time, seconds

Change = Literal["cancel", "retry", "remove"]

_CHANGES: Final[dict[Change, type[Cancel | Retry | Remove]]] = {
    "cancel": Cancel,
    "retry": Retry,
    "remove": Remove,
}


class JobFilter(TypedDict, total=False):
    """Which jobs: those that match everything that is given.

    `job_ids`, `states`: any of these. `owner`: the identity that submitted it. `code`: of its last failure. `since`,
    `until`: when it was submitted.
    """

    job_ids: list[str]
    states: list[str]
    command: str
    owner: str
    key: str
    code: str
    since: Time
    until: Time


class JobNotEnded(WorkerTimeout):
    """The time given to Job.result was over before the job: it goes on."""

    def __init__(self, job_id: str, timeout: object, reason: str = "") -> None:
        super().__init__(f"Job {job_id} has not ended within {timeout:g} s: it goes on{reason}")
        self.job_id = job_id


def answer_timeout_s(timeout: object) -> float:
    """The seconds that a question waits for its answer. Raises BadRequest."""
    timeout_s = seconds("timeout", timeout)
    if not isinstance(timeout_s, (int, float)) or not 0 < timeout_s <= ANSWER_TIMEOUT_S_MAX:
        raise BadRequest(
            f"timeout: {timeout_s!r} is not a number of seconds over 0 and at most {ANSWER_TIMEOUT_S_MAX:g}"
        )
    return timeout_s


def view(job_id: str, timeout: Duration) -> Question:
    """Everything that is known of a job."""
    message = checked(Job, {"job_id": job_id})
    return Question(message, answer_timeout_s(timeout), IfLost.ASK_AGAIN, "nothing was changed")


def follow(job_id: str) -> Question:
    """Everything that is known of a job, and what it does next, for as long as the link lasts. Waits for a link as long
    as it takes."""
    message = checked(Job, {"job_id": job_id, "receipts": True})
    return Question(message, math.inf, IfLost.ASK_AGAIN, "the job goes on")


def end_of(job_id: str, timeout: Duration | None) -> Question:
    """The response of a job, once it has ended. `timeout`: 0 for one that has ended, None for as long as it takes."""
    message = checked(Await, {"job_id": job_id, "timeout": seconds("timeout", timeout)})
    timeout_s = math.inf if message.timeout is None else message.timeout
    return Question(message, timeout_s, IfLost.ASK_AGAIN, "the job goes on", waits_for_job=True)


def page(filter: Mapping[str, object], cursor: str | None, count: int, timeout: Duration) -> Question:
    """One page of the jobs that match."""
    message = checked(ListJobs, {"cursor": cursor, "count": count})
    message.filter = checked(Filter, filter) if filter else None
    return Question(message, answer_timeout_s(timeout), IfLost.ASK_AGAIN, "nothing was changed")


def change(kind: Change, job_id: str, timeout: Duration) -> Question:
    """Cancel, retry or remove one job."""
    message = _CHANGES[kind](request_id="", job_id=checked(Job, {"job_id": job_id}).job_id)
    return Question(message, answer_timeout_s(timeout), IfLost.FAIL, "perhaps it was done")


def change_all(kind: Change, filter: Mapping[str, object], dry_run: bool, timeout: Duration) -> Question:
    """Cancel, retry or remove all jobs that match. Raises BadRequest without a filter: to mean all of them must be
    said."""
    if not filter:
        raise BadRequest(f"{kind}_jobs: say which jobs, by states=, command= or another filter")
    message = _CHANGES[kind](request_id="", filter=checked(Filter, filter), dry_run=dry_run)
    if_lost = IfLost.ASK_AGAIN if dry_run else IfLost.FAIL
    return Question(message, answer_timeout_s(timeout), if_lost, "perhaps it was done")


def schedules(name: str | None, timeout: Duration) -> Question:
    """The schedule of this name, or all."""
    message = checked(ScheduleAction, {"name": name})
    return Question(message, answer_timeout_s(timeout), IfLost.ASK_AGAIN, "nothing was changed")


def change_schedule(
    action: Literal["pause", "resume", "run", "remove"], name: str, timeout: Duration
) -> Question:
    """Do something with the schedule of this name."""
    message = checked(ScheduleAction, {"name": name, "action": action})
    if_lost = IfLost.ASK_AGAIN if action in ("pause", "resume") else IfLost.FAIL
    return Question(message, answer_timeout_s(timeout), if_lost, "perhaps it was done")


def not_ended(error: WorkerTimeout, job_id: str, timeout: Duration | None) -> WorkerTimeout:
    """JobNotEnded, if the time to wait was over. A job's own timeout names the worker that was late."""
    if error.processed_by is not None or timeout is None:
        return error
    return JobNotEnded(job_id, seconds("timeout", timeout))
