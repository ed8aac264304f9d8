"""Every line that a worker program itself logs: names, levels and fields. docs/log.md is written from them.

No field may hold data of a request, a handler's own words, or a credential.
"""

import logging
from collections.abc import Collection
from itertools import islice
from typing import Any, ClassVar, Final

from ..log.event import Event

COMMANDS_NAMED_COUNT_MAX: Final = 20
"""Commands that one line names."""


def named(commands: Collection[str]) -> tuple[str, ...]:
    """The first of them, and how many more there are."""
    more_count = len(commands) - COMMANDS_NAMED_COUNT_MAX
    first = tuple(islice(commands, COMMANDS_NAMED_COUNT_MAX))
    return (*first, f"and {more_count:,} more") if more_count > 0 else first


class WorkerConnected(Event, frozen=True):
    """The broker at `url` has registered the worker under that name. `commands`: the first of them, and how many more
    there are."""

    text: ClassVar[str] = "connected to {url} as {worker} (slots: {slots_count}; commands: {commands})"
    url: str
    worker: str
    commands: tuple[str, ...]
    slots_count: int


class BrokerOutOfReach(Event, frozen=True):
    """No connection to the broker, or refused by it; the worker tries again. Logged once until the reason changes."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{reason}; retrying"
    url: str
    reason: str


class BrokerLeaving(Event, frozen=True):
    """The broker is stopping; what runs is finished for as long as the link stays."""

    text: ClassVar[str] = "the broker is leaving: {reason}"
    reason: str


class CommandsForbidden(Event, frozen=True):
    """The broker serves this worker, but not with all of its commands. `reason` names those that it may not serve."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "this worker may not serve all of its commands: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("reason",)
    reason: str


class BrokerComplained(Event, frozen=True):
    """The broker did not understand this worker. `code`: as in the error registry."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "the broker did not understand this worker: {code}: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("code",)
    code: str
    reason: str


class BrokerMessageRefused(Event, frozen=True):
    """The worker did not understand a message from the broker, and replied so. `reason` quotes nothing of the
    message."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "a message from the broker was not understood: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("reason",)
    reason: str


class WorkerDraining(Event, frozen=True):
    """The worker got `signal`: it takes nothing new, and finishes what runs."""

    text: ClassVar[str] = "{signal}: finishing what runs, for at most {grace_s:g} s{hint}"
    signal: str
    grace_s: float
    hint: str


class AssignmentsUnfinished(Event, frozen=True):
    """The grace ended before these did; the broker settles them."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{count} assignments did not finish within {grace_s:g} s"
    count: int
    grace_s: float


class AttemptsGivenBack(Event, frozen=True):
    """The grace ended before these attempts of jobs did. They are stopped, and given back as they end; it costs the
    jobs nothing."""

    text: ClassVar[str] = "{count} attempts of jobs did not finish within {grace_s:g} s; giving them back"
    count: int
    grace_s: float


class AttemptUnwanted(Event, frozen=True):
    """The broker no longer wants an attempt of a job that still ran: the job was cancelled, or runs elsewhere."""

    text: ClassVar[str] = "stopped {command}, attempt {attempt} of job {job}: the broker no longer wants it"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str
    attempt: int
    job: str


class AttemptsUnclaimed(Event, frozen=True):
    """More attempts of jobs were kept than one message to the broker can claim. The rest was stopped and forgotten;
    the broker runs these jobs again."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "{count} attempts of jobs could not be claimed, because one message holds no more than {claimed_count} of "
        "them; the broker runs these jobs again"
    )
    count: int
    claimed_count: int


class ResultsForgotten(Event, frozen=True):
    """Results of jobs, the oldest, were forgotten before any broker settled them, because there were too many. A
    broker that has not got them runs these jobs again."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "forgot {count} results of jobs that no broker has settled; {kept_count} ({kept_bytes} bytes) are kept"
    )
    same: ClassVar[tuple[str, ...] | None] = ()
    count: int
    kept_count: int
    kept_bytes: int


class JobsLeft(Event, frozen=True):
    """The worker has stopped with attempts of jobs that it did not end, or results that no broker has settled: the
    broker was away, or too slow. It runs these jobs again, unless it has the results."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "stopped with {attempts_count} attempts of jobs unfinished, and {results_count} results of jobs that no broker "
        "has settled"
    )
    attempts_count: int
    results_count: int


class HandlerFailed(Event, frozen=True):
    """A handler raised an exception other than CommandError, Retry or Dead. `traceback` is without texts, and
    `exception` is its type alone: texts are only sent to the requester. With `--log-handler-errors`, or `--reload`,
    `exception` has the text as well."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{command} failed (request {request_id}): {exception}"
    same: ClassVar[tuple[str, ...] | None] = ("command", "exception")
    command: str
    request_id: str
    exception: str
    traceback: str = ""
    """Of an exception raised in another process; otherwise logging has the exception itself."""

    def fields(self) -> dict[str, Any]:
        """The whole traceback."""
        return {**super().fields(), "traceback": self.traceback}

    def __str__(self) -> str:
        line = super().__str__()
        return f"{line}\n{self.traceback}" if self.traceback else line


class HandlerNotStarted(Event, frozen=True):
    """A handler could not be started, for want of a thread or a process. Its request has failed; the next one may do
    better."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{command} could not be started (request {request_id}): {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("command", "reason")
    command: str
    request_id: str
    reason: str


class ThreadNotStarted(Event, frozen=True):
    """No further thread for handlers could be started; what would have run in it waits for one of those that there
    are."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "could not start another thread for handlers ({reason}); {thread_count} go on"
    same: ClassVar[tuple[str, ...] | None] = ("reason",)
    reason: str
    thread_count: int


class ReportFailed(Event, frozen=True):
    """How a handler ended could not be reported, by an error of the worker itself or of something plugged into it. The
    request has failed with `handler_error`."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{command}: its end could not be reported (request {request_id}): {exception}"
    same: ClassVar[tuple[str, ...] | None] = ("command", "exception")
    command: str
    request_id: str
    exception: str


class CancelledHandlerFailed(Event, frozen=True):
    """A handler raised an exception while it was being cancelled; its result is not needed. With the traceback."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{command} failed while it was cancelled"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str


class HandlerEndedLate(Event, frozen=True):
    """A handler ended after its worker had stopped."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "handler of {command} ended after the worker had stopped"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str


class ResultRefused(Event, frozen=True):
    """A handler returned something that cannot be written in the worker's encoding."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{command}: {reason} (request {request_id})"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str
    request_id: str
    reason: str


class HandlerProcessDied(Event, frozen=True):
    """The process for a handler died, by itself or by a signal: `how`. Another one takes its place."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "the process for {command} (request {request_id}) {how}"
    same: ClassVar[tuple[str, ...] | None] = ("command", "how")
    command: str
    request_id: str
    how: str


class LoopBlocked(Event, frozen=True):
    """A handler, or other code, blocks the event loop, so that nothing is sent or received. `what`: the command, or
    that it is not a handler. `place`: file and line."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "the event loop has been blocked for over {blocked_s:g} s by {what} (at {place}); after {dead_after_s:g} s the "
        "broker considers this worker dead. Make the handler a plain def, which runs in a thread, or await what it "
        "waits for"
    )
    same: ClassVar[tuple[str, ...] | None] = ("what", "place")
    what: str
    place: str
    blocked_s: float
    dead_after_s: float


class LoopUnwatched(Event, frozen=True):
    """The thread that would report a blocked event loop could not be started. The worker serves without it."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "a handler that blocks the event loop will not be reported: {reason}"
    reason: str


class EndedWithoutThreads(Event, frozen=True):
    """The grace was over, or a second signal came, and threads still ran that Python would have waited for: those of
    `asyncio.to_thread`, of an executor, or a handler's own. The process has ended without them."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "ended although this still ran: {names}"
    names: str


class WorkerProcessEnded(Event, frozen=True):
    """One of `--processes` ended by itself, and is replaced."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker process {number} {how}; starting another"
    number: int
    how: str


class WorkerProcessesStopping(Event, frozen=True):
    """The parent of `--processes` got `signal`."""

    text: ClassVar[str] = "{signal}: stopping the worker processes; once more to kill them"
    signal: str


class SourceChanged(Event, frozen=True):
    """`--reload`: a file has changed, and the worker restarts."""

    text: ClassVar[str] = "{path} has changed: restarting"
    path: str
