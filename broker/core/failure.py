"""How a call failed, as an immutable value: what its caller receives."""

from typing import NamedTuple

from ...protocol.errors import REGISTRY, TaskferryError


class Failure(NamedTuple):
    """A failure of one call.

    `code` is one of the error registry, or a handler's own. `retry_after_s`: after how many seconds a retry makes
    sense. `delivery` says whether the command may have run (`not_delivered`, `may_have_run`), `queue_wait_s` how long
    the call waited for a free slot. `retry` is what a handler says about trying an attempt again: after so many
    seconds, False for never, True for the usual. Each of the last four is None if it is unknown or does not apply.
    """

    code: str
    text: str
    retry_after_s: float | None = None
    delivery: str | None = None
    queue_wait_s: float | None = None
    retry: float | bool | None = None


def is_deliberate(failure: Failure) -> bool:
    """A handler has decided when its job is tried again, or that it is not: a verdict on the job, not on the worker."""
    return failure.retry is not None and failure.retry is not True


def failure_of(error: TaskferryError) -> Failure:
    """The same failure as a value."""
    return Failure(error.code, error.text)


def plain_failure(kind: type[TaskferryError]) -> Failure:
    """A failure of this kind, with the registry's text."""
    return Failure(kind.code, kind.message)


def promises_not_run(code: str) -> bool:
    """Whether a failure with this code promises that the command did not run."""
    kind = REGISTRY.get(code)
    return kind is not None and kind.retryable
