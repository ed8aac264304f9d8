"""What a broker tells the person who runs it: every line of its log that is ours.

Names, levels and fields; docs/log.md is written from them. Must not know when any of it happens. No field may hold data
of a request, a handler's own words, or what lets somebody in.
"""

import logging
from typing import ClassVar

from ..log.event import Event


class BrokerStarted(Event, frozen=True):
    """The broker listens on all of its ports."""

    text: ClassVar[str] = (
        "started on {host}: workers on port {worker_port}, requesters on {requester_port}, HTTP on {http_port}"
    )
    host: str
    worker_port: int
    requester_port: int
    http_port: int
    version: str


class BrokerDraining(Event, frozen=True):
    """The broker was told to stop: it takes nothing new, and waits for what is in flight."""

    text: ClassVar[str] = "draining: {in_flight_count} requests in flight, {grace_s:g} s at most"
    in_flight_count: int
    grace_s: float


class BrokerStopped(Event, frozen=True):
    """The broker ends, in an orderly way."""

    text: ClassVar[str] = "stopped"


class WorkerJoined(Event, frozen=True):
    """A worker was taken in."""

    text: ClassVar[str] = "worker {worker} joined from {peer}: {commands_count} commands, {slots_count} slots"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    peer: str
    commands_count: int
    slots_count: int


class WorkerLeft(Event, frozen=True):
    """A worker's connection is gone. `reason`: `closed by peer`, `silent for 8 s`, `connection lost` and the like."""

    text: ClassVar[str] = "worker {worker} left: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    peer: str
    reason: str


class WorkerRefused(Event, frozen=True):
    """A connection on the worker port was closed, because of what it said first, or because it said nothing. `code`: as
    in the error registry."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} from {peer} was refused: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker", "code")
    worker: str
    peer: str
    code: str
    reason: str


class WorkerSuspect(Event, frozen=True):
    """A worker's link is silent, or its canary is overdue: it gets nothing while others are well."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} is suspect (was {before}): {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    before: str
    reason: str


class WorkerEjected(Event, frozen=True):
    """A worker failed where others did not: it gets nothing for a while. `reason` is without the handler's own words;
    these stand in `/api/workers`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} is ejected (was {before}): {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    before: str
    reason: str


class WorkerProbed(Event, frozen=True):
    """An ejection is over: one assignment shall show what the worker is worth."""

    text: ClassVar[str] = "worker {worker} is probing (was {before}): {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    before: str
    reason: str


class WorkerReadmitted(Event, frozen=True):
    """A worker is well again, after an ejection or a doubt."""

    text: ClassVar[str] = "worker {worker} is healthy (was {before})"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    before: str


class WorkerLeaving(Event, frozen=True):
    """A worker said `disconnect`: it gets nothing more, and ends what it has. `reason`: its own word, may be empty."""

    text: ClassVar[str] = "worker {worker} drains: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    reason: str


class WorkerDrained(Event, frozen=True):
    """An operator drains a worker, which has that `state` now."""

    text: ClassVar[str] = "worker {worker} is drained, as an operator wishes; it is {state}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    state: str


class WorkerUndrained(Event, frozen=True):
    """An operator has taken a drain back."""

    text: ClassVar[str] = "worker {worker} is given requests again, as an operator wishes; it is {state}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    state: str


class WorkerMessageRefused(Event, frozen=True):
    """A worker sent what makes no sense, and was told so. `reason` is without what it quotes of the message."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} sent a bad message: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker", "code")
    worker: str
    code: str
    reason: str


class WorkerComplained(Event, frozen=True):
    """A worker did not understand the broker. `code`: as in the error registry, else `other`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} did not understand the broker: {code}"
    same: ClassVar[tuple[str, ...] | None] = ("worker", "code")
    worker: str
    code: str


class SlowReaderClosed(Event, frozen=True):
    """A peer did not read what it was sent, and was cut off. `port`: `worker` or `requester`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{port} port: {peer} was cut off: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("port", "reason")
    port: str
    peer: str
    reason: str


class HandshakeRefused(Event, frozen=True):
    """A connection did not become a WebSocket. `port`: `worker` or `requester`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{port} port: handshake of {peer} refused: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("port", "reason")
    port: str
    peer: str
    reason: str


class OverloadBegan(Event, frozen=True):
    """More comes for a command, or for one target of it, than its workers can do. `target` may be empty."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "{command} is overloaded: {queued_count} requests wait; newest first now, the oldest are refused"
    )
    same: ClassVar[tuple[str, ...] | None] = ("command", "target")
    command: str
    target: str
    queued_count: int


class OverloadEnded(Event, frozen=True):
    """It is worked off."""

    text: ClassVar[str] = "{command} is no longer overloaded"
    same: ClassVar[tuple[str, ...] | None] = ("command", "target")
    command: str
    target: str
