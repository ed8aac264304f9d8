"""How a failed attempt is judged: whether the job is tried again, when, and what that costs it.

Failures and lost workers have budgets of their own: a job that fails may be tried for hours, one that kills its workers
may not.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from ...protocol import errors
from ...protocol.errors import REQUESTER_CODES
from ...protocol.limits import ATTEMPTS_COUNT_DEFAULT, JOB_TIMEOUT_S_DEFAULT
from ...protocol.messages import Defaults
from ..core.failure import Failure
from .job import Job

JITTER_SHARE: Final = 0.25
"""A wait is longer by up to this share, at random, so that jobs that failed together do not come back together."""

NOT_SERVED_S: Final = 1.0
"""Wait after a worker did not know the command: it is being replaced by one that does, or something is wrong."""

DEAD_CODES: Final = frozenset(REQUESTER_CODES - {errors.Cancelled.code})
"""The fault of the submitter: another attempt would fail as well."""

NO_DEFAULTS: Final = Defaults()


class Verdict(NamedTuple):
    """`wait_s`: try again after so long; None: the job is dead. `is_failure`: it counts as one."""

    wait_s: float | None
    is_failure: bool


def attempts_max(job: Job, declared: Defaults) -> int:
    """How often it is tried. `declared`: what the worker says."""
    if job.terms.at_most_once:
        return 1
    return job.terms.attempts or declared.attempts or ATTEMPTS_COUNT_DEFAULT


def timeout_s(job: Job, declared: Defaults) -> float:
    """The time for one attempt."""
    return job.terms.timeout or declared.timeout or JOB_TIMEOUT_S_DEFAULT


def wait_s(job: Job, declared: Defaults, failures_count: int, chance: Callable[[], float]) -> float:
    """The wait after so many failures: n**4 s (as Sidekiq and River), or what the terms say."""
    backoff = declared.backoff if job.terms.backoff is None else job.terms.backoff
    if backoff is None:
        base_s = float(failures_count**4)
    elif isinstance(backoff, list):
        base_s = backoff[min(failures_count, len(backoff)) - 1]
    else:
        base_s = backoff
    return base_s * (1.0 + JITTER_SHARE * chance())


def judge(job: Job, failure: Failure, declared: Defaults, chance: Callable[[], float]) -> Verdict:
    """What follows from a failure of an attempt that a worker had, and neither lost nor gave back."""
    if failure.code == errors.UnknownCommand.code:
        return Verdict(NOT_SERVED_S, is_failure=False)
    retry = failure.retry
    if retry is False or failure.code in DEAD_CODES or job.failures_count + 1 >= attempts_max(job, declared):
        return Verdict(None, is_failure=True)
    if retry is None or retry is True:
        return Verdict(wait_s(job, declared, job.failures_count + 1, chance), is_failure=True)
    return Verdict(retry, is_failure=True)
