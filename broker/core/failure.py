"""How a call failed, as a value: what its caller is told, and nothing that changes on the way there."""

from typing import NamedTuple

from ...protocol.errors import REGISTRY, TaskferryError


class Failure(NamedTuple):
    """A failure of one call.

    `code` is one of the error registry, or a handler's own. `retry_after_s`: when it is worth sending again.
    `delivery` says whether the command may have run (`not_delivered`, `may_have_run`), `queue_wait_s` how long the call
    waited for a free slot. None of the last three: unknown, or of no use.
    """

    code: str
    text: str
    retry_after_s: float | None = None
    delivery: str | None = None
    queue_wait_s: float | None = None


def failure_of(error: TaskferryError) -> Failure:
    """The failure that an exception stands for."""
    return Failure(error.code, error.text)


def plain_failure(kind: type[TaskferryError], text: str | None = None) -> Failure:
    """A failure of this kind, with the registry's text if there is nothing more exact to say."""
    return Failure(kind.code, text or kind.message)


def promises_not_run(code: str) -> bool:
    """Whether a failure with this code promises that the command did not run."""
    kind = REGISTRY.get(code)
    return kind is not None and kind.retryable
