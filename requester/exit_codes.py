"""How `taskferry request` reports to a script what happened."""

from collections.abc import Mapping
from typing import Final

from ..program.exit_codes import INTERRUPTED, NO_CONNECTION, RATE_LIMITED, REFUSED, SUCCESS, TIMEOUT, USAGE
from ..protocol.errors import (
    CannotConnect,
    ConnectionLost,
    Forbidden,
    NoAvailableWorkers,
    RateLimited,
    Unauthenticated,
    WorkerTimeout,
)

COMMAND_FAILED: Final = 1
NO_WORKER: Final = 4
KEPT: Final = 8
"""Not a success: a script would take the job_id for the result."""

MEANINGS: Final = {
    SUCCESS: "success (with --count: all succeeded)",
    COMMAND_FAILED: "the command failed",
    USAGE: "wrong options or DATA",
    TIMEOUT: "timeout",
    NO_WORKER: "no worker serves the command",
    NO_CONNECTION: "cannot connect to the broker, or connection lost",
    REFUSED: "refused: not authenticated, or this identity may not do that",
    RATE_LIMITED: "rate limited: try again later",
    KEPT: "kept as a job (--otherwise submit); printed is its job_id",
    INTERRUPTED: "interrupted with Ctrl-C",
}
"""The table that `--help` of `taskferry request` prints."""

JOB_MEANINGS: Final = {
    SUCCESS: "success",
    COMMAND_FAILED: "a job failed, or the broker refused",
    USAGE: "wrong options or DATA",
    TIMEOUT: "timeout: the job had not ended in time, or the broker did not answer",
    NO_CONNECTION: MEANINGS[NO_CONNECTION],
    REFUSED: MEANINGS[REFUSED],
    RATE_LIMITED: MEANINGS[RATE_LIMITED],
    INTERRUPTED: MEANINGS[INTERRUPTED],
}
"""That of the commands about jobs."""

WATCH_MEANINGS: Final = {
    COMMAND_FAILED: "the broker refused, or has no room for more subscriptions",
    USAGE: "wrong options or PATTERN",
    NO_CONNECTION: "cannot connect to the broker",
    REFUSED: MEANINGS[REFUSED],
    RATE_LIMITED: MEANINGS[RATE_LIMITED],
    INTERRUPTED: MEANINGS[INTERRUPTED],
}
"""That of `taskferry watch`, which never ends by itself."""

_EXIT_CODES: Final = {
    WorkerTimeout.code: TIMEOUT,
    NoAvailableWorkers.code: NO_WORKER,
    CannotConnect.code: NO_CONNECTION,
    ConnectionLost.code: NO_CONNECTION,
    Unauthenticated.code: REFUSED,
    Forbidden.code: REFUSED,
    RateLimited.code: RATE_LIMITED,
}


def exit_code(code: str | None) -> int:
    """The exit code for a response with this error code (None: it succeeded)."""
    return SUCCESS if code is None else _EXIT_CODES.get(code, COMMAND_FAILED)


def exit_code_of_many(counts: Mapping[str | None, int], kept_count: int = 0) -> int:
    """The exit code for this many responses by error code: that of the most frequent failure, if there is one.
    `kept_count`: requests that became jobs."""
    failures = {code: count for code, count in counts.items() if code is not None and count}
    if not failures:
        return KEPT if kept_count else SUCCESS
    return exit_code(max(failures, key=failures.__getitem__))
