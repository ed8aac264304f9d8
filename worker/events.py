"""What a worker program tells the person who runs it: every line of its log that is ours.

Names, levels and fields; docs/log.md is written from them. Must not know when any of it happens. No field may hold data
of a request, a handler's own words, or what lets somebody in.
"""

import logging
from typing import Any, ClassVar

from ..log.event import Event


class WorkerConnected(Event, frozen=True):
    """The broker at `url` has taken the worker in, under that name."""

    text: ClassVar[str] = "connected to {url} as {worker} (commands: {commands_count}, slots: {slots_count})"
    same: ClassVar[tuple[str, ...] | None] = ("url", "worker")
    url: str
    worker: str
    commands_count: int
    slots_count: int


class BrokerOutOfReach(Event, frozen=True):
    """No connection, or no place, at the broker; the worker tries again. Told once until it changes."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{reason}; retrying"
    same: ClassVar[tuple[str, ...] | None] = ("url", "reason")
    url: str
    reason: str


class BrokerLeaving(Event, frozen=True):
    """The broker says goodbye: it stops, and what runs is finished for as long as the link stays."""

    text: ClassVar[str] = "the broker says goodbye: {reason}"
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
    """The broker sent what makes no sense, and was told so. `reason` is without what it quotes of the message."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "a message from the broker was not understood: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("reason",)
    reason: str


class WorkerDraining(Event, frozen=True):
    """The worker was told to stop by `signal`: it takes nothing new, and finishes what runs."""

    text: ClassVar[str] = "{signal}: finishing what runs, for {grace_s:g} s at most{hint}"
    signal: str
    grace_s: float
    hint: str


class AssignmentsUnfinished(Event, frozen=True):
    """The grace was over before these were done; the broker settles them."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{count} assignments did not finish within {grace_s:g} s"
    count: int
    grace_s: float


class HandlerFailed(Event, frozen=True):
    """A handler raised an exception that is no CommandError. `traceback` is without texts: these go to the requester
    alone."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{command} failed (request {request_id}): {exception}"
    same: ClassVar[tuple[str, ...] | None] = ("command", "exception")
    command: str
    request_id: str
    exception: str
    traceback: str = ""
    """Of one that was raised in another process; else logging has the exception itself."""

    def fields(self) -> dict[str, Any]:
        """The traceback whole."""
        return {**super().fields(), "traceback": self.traceback}

    def __str__(self) -> str:
        line = super().__str__()
        return f"{line}\n{self.traceback}" if self.traceback else line


class CancelledHandlerFailed(Event, frozen=True):
    """A handler raised an exception while it was being cancelled; nobody waits for it. With the traceback."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{command} failed while it was cancelled"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str


class HandlerEndedLate(Event, frozen=True):
    """A handler ended when its worker was gone already."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "handler of {command} ended after the worker"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str


class ResultRefused(Event, frozen=True):
    """A handler returned what cannot be written in the worker's encoding."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{command}: {reason} (request {request_id})"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str
    request_id: str
    reason: str


class HandlerProcessDied(Event, frozen=True):
    """A process that ran handlers died; `command` was in it, or in one beside it."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "a process that ran handlers died; {command} was in it, or in one beside it"
    same: ClassVar[tuple[str, ...] | None] = ("command",)
    command: str


class LoopBlocked(Event, frozen=True):
    """A handler, or other code, keeps the event loop from turning, so that nothing is sent or received. `what`: the
    command, or that it is no handler. `place`: file and line."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "the event loop has been blocked for over {blocked_s:g} s by {what} (at {place}); after {dead_after_s:g} s the "
        "broker takes this worker for dead. Make the handler a plain def, which runs in a thread, or await what it "
        "waits for"
    )
    same: ClassVar[tuple[str, ...] | None] = ("what", "place")
    what: str
    place: str
    blocked_s: float
    dead_after_s: float


class WorkerProcessEnded(Event, frozen=True):
    """One of `--processes` ended by itself, and is replaced."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker process {number} {how}; starting another"
    same: ClassVar[tuple[str, ...] | None] = ("number",)
    number: int
    how: str


class WorkerProcessesStopping(Event, frozen=True):
    """The parent of `--processes` was told to stop by `signal`."""

    text: ClassVar[str] = "{signal}: stopping the worker processes; once more to kill them"
    signal: str


class SourceChanged(Event, frozen=True):
    """`--reload`: a file has changed, and the worker starts anew."""

    text: ClassVar[str] = "{path} has changed: starting anew"
    path: str
