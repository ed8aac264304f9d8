"""What a broker logs for its operator: every event that is ours.

Names, levels and fields; docs/log.md is generated from them. Knows nothing of when any of it happens. No field may hold
data of a request, a handler's own words, or a secret.
"""

import logging
from typing import ClassVar

from ..log.event import Event


class BrokerStarted(Event, frozen=True):
    """The broker listens on all of its ports."""

    text: ClassVar[str] = (
        "started on {host}: workers on port {worker_port}, requesters on {requester_port}, HTTP on {http_port}, API on "
        "{api_port}"
    )
    host: str
    worker_port: int
    requester_port: int
    http_port: int
    api_port: int
    version: str


class BrokerDraining(Event, frozen=True):
    """The broker is stopping: it accepts nothing new, and waits for the requests in flight."""

    text: ClassVar[str] = "draining: {in_flight_count} requests in flight, at most {grace_s:g} s"
    in_flight_count: int
    grace_s: float


class BrokerStopped(Event, frozen=True):
    """The broker has stopped in an orderly way."""

    text: ClassVar[str] = "stopped"


class BrokerPaused(Event, frozen=True):
    """The broker did nothing for a while: it was stopped, its machine was suspended or far too busy, or a plugin
    blocked it. Deadlines have moved by that time, and no worker is blamed for it."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "the broker itself stood still for {pause_s:.1f} s: deadlines have moved by that time"
    )
    pause_s: float


class ClockStepped(Event, frozen=True):
    """The machine's clock was set, or the machine was suspended. Jobs that wait for a time wait for it by the new
    clock."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "the clock was set by {by_s:+.1f} s"
    by_s: float


class JobDead(Event, frozen=True):
    """A job has failed for good. It is kept, for `taskferry job show` and `taskferry job retry`. `code`: as in the
    error registry, `handler_error` for a handler's own."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "job {job} of {command} is dead: {code} after {attempts_count} attempts"
    same: ClassVar[tuple[str, ...] | None] = ("command", "code")
    job: str
    command: str
    code: str
    attempts_count: int


class ScheduleSkipped(Event, frozen=True):
    """A run of a schedule was left out, because the one before has not ended, or the broker was down."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "schedule {schedule}: a run was left out: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("schedule",)
    schedule: str
    reason: str


class JobsOff(Event, frozen=True):
    """The broker keeps no jobs, because it cannot have the journal in its default place: mostly another broker of this
    machine's user has it."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "serving without jobs: {reason}"
    reason: str


class WorkerJoined(Event, frozen=True):
    """A worker was registered."""

    text: ClassVar[str] = "worker {worker} joined from {peer}: {commands_count} commands, {slots_count} slots"
    worker: str
    identity: str
    peer: str
    commands_count: int
    slots_count: int


class WorkerLeft(Event, frozen=True):
    """A worker's connection is closed. `reason`: `closed by peer`, `silent for 8 s`, `connection lost` and the like."""

    text: ClassVar[str] = "worker {worker} left: {reason}"
    worker: str
    peer: str
    reason: str


class WorkerRefused(Event, frozen=True):
    """A connection on the worker port was closed because of its first message, or because it sent none. `code`: as in
    the error registry."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} from {peer} was refused: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker", "code")
    worker: str
    peer: str
    code: str
    reason: str


class WorkerSuspect(Event, frozen=True):
    """A worker's link is silent, or its canary is overdue: it gets nothing while other workers are healthy."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} is suspect (was {before}): {reason}"
    worker: str
    before: str
    reason: str


class WorkerEjected(Event, frozen=True):
    """A worker failed when others did not: it gets nothing for a while. `reason` leaves out the handler's own words,
    which `/api/workers` shows."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} is ejected (was {before}): {reason}"
    worker: str
    before: str
    reason: str


class WorkerProbed(Event, frozen=True):
    """An ejection is over: one assignment will show whether the worker has recovered."""

    text: ClassVar[str] = "worker {worker} is probing (was {before}): {reason}"
    worker: str
    before: str
    reason: str


class WorkerReadmitted(Event, frozen=True):
    """A worker is healthy again, after it was ejected or suspect."""

    text: ClassVar[str] = "worker {worker} is healthy (was {before})"
    worker: str
    before: str


class WorkerLeaving(Event, frozen=True):
    """A worker said `disconnect`: it gets nothing more, and finishes what it has. `reason`: its own, or empty."""

    text: ClassVar[str] = "worker {worker} is leaving: {reason}"
    worker: str
    reason: str


class WorkerDrained(Event, frozen=True):
    """An operator drained a worker, which is in `state` now."""

    text: ClassVar[str] = "worker {worker} was drained by an operator; it is {state}"
    worker: str
    state: str


class WorkerUndrained(Event, frozen=True):
    """An operator undid the draining of a worker."""

    text: ClassVar[str] = "an operator undid the draining of worker {worker}; it is {state}"
    worker: str
    state: str


class WorkerMessageRefused(Event, frozen=True):
    """A worker sent an invalid message, and got an error. `reason` leaves out what the error quotes of the message."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} sent a bad message: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("worker", "code")
    worker: str
    code: str
    reason: str


class WorkerComplained(Event, frozen=True):
    """A worker sent an error about a message of the broker. `code`: as in the error registry, else `other`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} did not understand the broker: {code}"
    same: ClassVar[tuple[str, ...] | None] = ("worker", "code")
    worker: str
    code: str


class SlowReaderClosed(Event, frozen=True):
    """A peer did not read what it was sent, and was disconnected. `port`: `worker`, `requester` or `api`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{port} port: {peer} was disconnected: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("port", "reason")
    port: str
    peer: str
    reason: str


class OpenFilesExhausted(Event, frozen=True):
    """The broker may open no more files, of which each connection is one: new connections are closed at once. `reason`:
    the system's. It has raised the soft limit of its process by itself, so the hard limit is too low."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = (
        "no more open files ({reason}): new connections are refused; raise the limit (ulimit -Hn)"
    )
    reason: str


class OpenFilesFree(Event, frozen=True):
    """The broker can open files again, and accepts connections."""

    text: ClassVar[str] = "files can be opened again: new connections are accepted"


class HandshakeRefused(Event, frozen=True):
    """A connection did not become a WebSocket, or belongs to another port, or a request to the HTTP port was refused.
    `port`: `worker`, `requester`, `api` or `http`; `address`: of the client, as trusted proxies report it, an IPv6 one
    as its network."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{port} port: connection from {address} refused: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("port", "address", "reason")
    port: str
    address: str
    reason: str


class LoginEnded(Event, frozen=True):
    """A connection was closed because its login ran out or was revoked, because a reload took a right that it used, or
    because it could not renew its login. `proof`: what had proved the identity, such as `token 3f2a9c01`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{port} port: connection of {identity} ({proof}) from {address} closed: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("port", "identity", "address", "reason")
    port: str
    identity: str
    proof: str
    address: str
    reason: str


class ConnectionKicked(Event, frozen=True):
    """An operator closed a connection. `connection`: its id; `reason`: as its peer was told."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{port} port: connection {connection} of {identity} from {peer} closed: {reason}"
    port: str
    connection: str
    identity: str
    peer: str
    reason: str


class CommandsForbidden(Event, frozen=True):
    """A worker may not serve some of its commands. It serves the others. `commands`: the first ten of them, and how
    many more there are."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "worker {worker} of {identity} may not serve {commands}"
    same: ClassVar[tuple[str, ...] | None] = ("worker",)
    worker: str
    identity: str
    commands: str


class AccessFileWarning(Event, frozen=True):
    """Something about the access file that its owner should change."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{warning}"
    warning: str


class AccessReloaded(Event, frozen=True):
    """The access file was read again, and applies to open connections, too."""

    text: ClassVar[str] = "access reloaded; identities: {identities_count}"
    identities_count: int


class AccessTurnedOff(Event, frozen=True):
    """SIGHUP: the setting `access` is gone."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "access is off now: whoever can connect may do everything"


class OpenToNetwork(Event, frozen=True):
    """The broker listens beyond loopback, and there is no access file. `--insecure` says that this is meant."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "anyone who can connect to {host} may call and serve every command, and drain workers: set access, or if this "
        "is meant, insecure"
    )
    host: str


class CertificateReloaded(Event, frozen=True):
    """SIGHUP: the files of the certificate were read again, for handshakes from here on."""

    text: ClassVar[str] = "certificate reloaded: {file}"
    file: str


class HttpRequestRefused(Event, frozen=True):
    """A connection to the HTTP port was refused or dropped: it was too slow, or too large, or one too many."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "http port: {peer} was refused: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("reason",)
    peer: str
    reason: str


class OverloadBegan(Event, frozen=True):
    """A command, or one target of it, gets more requests than its workers can do. `target` may be empty."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "{command} is overloaded: {queued_count} requests wait; the newest go first now, the oldest are rejected"
    )
    same: ClassVar[tuple[str, ...] | None] = ("command", "target")
    command: str
    target: str
    queued_count: int


class OverloadEnded(Event, frozen=True):
    """The overload of a command, or of one target of it, is over."""

    text: ClassVar[str] = "{command} is no longer overloaded"
    same: ClassVar[tuple[str, ...] | None] = ("command", "target")
    command: str
    target: str


class JournalFailing(Event, frozen=True):
    """The journal cannot be written: the disk is full or failing. Submissions are refused with `journal_failed` until a
    write succeeds; what was acknowledged is safe, and live requests go on."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "the journal cannot be written, no job is accepted: {reason}"
    reason: str


class JournalRecovered(Event, frozen=True):
    """The journal can be written again, and jobs are accepted."""

    text: ClassVar[str] = "the journal can be written again, after {failing_s:.1f} s"
    failing_s: float
