"""Inboxes: what has ended of a client's jobs while it was away, numbered, in order, until it acknowledges.

A client is a `client_id` of an identity; each of its connections gets every message. Messages are on disk before they
are sent. One that is next for a connection is sent at once; all others are read back when there is room, so that a slow
connection costs no memory: at most IN_FLIGHT_COUNT_MAX messages are sent that it has not acknowledged. What any
connection acknowledges is removed. If the numbers that a connection gets have a gap, it is told how many are missing.
"""

from collections import deque
from typing import Final

from ...protocol import errors
from ...protocol.job_messages import Ack, Greeted, Greeting, JobEnded
from ...protocol.limits import TEXT_LENGTH_MAX
from ..core.failure import Failure
from .counts import JobCounts
from .job import Job
from .ports import Asker, JournalError, Opened, ReadInbox
from .reads import Reads
from .rows import InboxRow, StoredJob
from .settings import JobSettings
from .states import ENDED, JobState
from .writer import Writer

IN_FLIGHT_COUNT_MAX: Final = 256
"""Messages that one connection has been sent and has not acknowledged."""
INBOXES_COUNT_MAX: Final = 10_000
"""Inboxes, of all identities; one identity may have half of them. Each costs a row and some hundred bytes. The one
without a connection that was used longest ago gives way to a new one."""


class Box:
    """One inbox. `number`: the highest given; `acknowledged`: up to which its client has dealt with them; `dropped`: up
    to which there was no room."""

    __slots__ = ("acknowledged", "client_id", "connections", "dropped", "number", "owner")

    def __init__(self, owner: str, client_id: str, number: int, acknowledged: int) -> None:
        self.owner = owner
        self.client_id = client_id
        self.number = number
        self.acknowledged = acknowledged
        self.dropped = acknowledged
        self.connections: list[Connection] = []

    @property
    def start(self) -> int:
        """Messages up to this one are gone."""
        return max(self.acknowledged, self.dropped)

    @property
    def waiting_count(self) -> int:
        """Messages in it, at most: those of jobs that were removed since are counted too."""
        return self.number - self.start


class Connection:
    """One connection of a client. `sent`: it needs no message up to this one. `in_flight`: numbers that it has not
    acknowledged. `is_behind`: there may be messages on disk that it was not sent. `asked_count`: how many the journal
    was asked for; 0: it was not. `is_missing`: another one was written since."""

    __slots__ = ("asked_count", "asker", "box", "in_flight", "is_behind", "is_missing", "sent")

    def __init__(self, asker: Asker, box: Box) -> None:
        self.asker = asker
        self.box = box
        self.sent = box.start
        self.in_flight: deque[int] = deque()
        self.is_behind = box.waiting_count > 0
        self.asked_count = 0
        self.is_missing = False


class Inbox:
    """All inboxes."""

    __slots__ = (
        "_boxes",
        "_connections",
        "_counts",
        "_first_number",
        "_numbers",
        "_owners",
        "_reads",
        "_settings",
        "_writer",
    )

    def __init__(self, writer: Writer, reads: Reads, settings: JobSettings, counts: JobCounts) -> None:
        self._writer = writer
        self._reads = reads
        self._settings = settings
        self._counts = counts
        self._boxes: dict[tuple[str, str], Box] = {}  # the one used last is last
        self._connections: dict[Asker, Connection] = {}
        self._numbers: dict[int, int] = {}
        self._first_number = 0
        self._owners: dict[str, int] = {}

    def opened(self, opened: Opened) -> None:
        """Take what the journal has."""
        for (owner, client_id), (number, acknowledged) in opened.inboxes.items():
            box = self._boxes[owner, client_id] = Box(owner, client_id, number, acknowledged)
            self._owners[owner] = self._owners.get(owner, 0) + 1
            self._counts.inbox_count += box.waiting_count

    def reconfigure(self, settings: JobSettings) -> None:
        """Change the settings; a full inbox loses its oldest messages with the next one."""
        self._settings = settings

    # --- what ends --------------------------------------------------------------------------------------------------

    def ended(self, job: Job, now: float) -> None:
        """A job of a client has ended in this turn: write the message."""
        del now
        new = job.new
        assert new.client_id is not None
        box = self._box(new.owner, new.client_id)
        if box is None:
            self._counts.inbox_dropped_count += 1
            return
        box.number += 1
        self._counts.inbox_count += 1
        self._numbers[new.seq] = box.number
        batch = self._writer.entry.batch
        batch.inbox.append(InboxRow(box.owner, box.client_id, box.number, new.seq))
        excess_count = box.waiting_count - self._settings.inbox_count_max
        if excess_count > 0:
            box.dropped = box.start + excess_count
            batch.inbox_dropped.append((box.owner, box.client_id, box.dropped))
            self._counts.inbox_count -= excess_count
            self._counts.inbox_dropped_count += excess_count

    def dropped(self, job: Job) -> None:
        """A job that had ended at once could not be written: its number is not used."""
        self._numbers.pop(job.new.seq, None)

    def end_written(self, job: Job, now: float) -> None:
        """The end of a job of a client is on disk: send it to the connections for which it is next."""
        del now
        new = job.new
        number = self._numbers.pop(new.seq, None)
        box = self._boxes.get((new.owner, new.client_id or ""))
        if number is None or box is None:
            return
        for connection in box.connections:
            if connection.is_behind or number != connection.sent + 1 or self._room(connection) == 0:
                connection.is_behind = connection.is_missing = True
                self._read(connection)
            else:
                self._send(connection, _message(new.job_id, number, job.state, job.code, job.error))

    # --- who reads --------------------------------------------------------------------------------------------------

    def client_of(self, asker: Asker) -> str | None:
        """The client_id that this connection has given."""
        connection = self._connections.get(asker)
        return None if connection is None else connection.box.client_id

    def greet(self, asker: Asker, message: Greeting, now: float) -> None:
        """A connection says which client it is: answer, and send what waits. A second greeting replaces the first."""
        del now
        if asker.has_left:  # before the journal was read
            return
        self.asker_left(asker)
        assert message.client_id is not None, "the session answers those without one"
        box = self._box(asker.owner, message.client_id)
        if box is None:
            text = f"{INBOXES_COUNT_MAX} clients, or half as many of one identity, are connected, each with an inbox"
            asker.fail(message.request_id, Failure(errors.Overloaded.code, text), None)
            return
        connection = self._connections[asker] = Connection(asker, box)
        box.connections.append(connection)
        dropped_count = box.start - box.acknowledged
        asker.answer(Greeted(message.request_id, box.client_id, box.waiting_count, dropped_count))
        self._read(connection)

    def acknowledge(self, asker: Asker, message: Ack, now: float) -> None:
        """A client has dealt with all messages up to a number. What this connection was not sent stays."""
        del now
        connection = self._connections.get(asker)
        if connection is None:
            text = "'ack' before 'hello': this connection has no inbox"
            asker.fail(None, Failure(errors.BadRequest.code, text), None)
            return
        number, box = min(message.number, connection.sent), connection.box
        in_flight = connection.in_flight
        while in_flight and in_flight[0] <= number:
            in_flight.popleft()
        if number > box.acknowledged:
            before = box.waiting_count
            box.acknowledged = number
            self._counts.inbox_count -= before - box.waiting_count
            self._writer.entry.batch.acknowledged.append((box.owner, box.client_id, number))
        self._read(connection)

    def asker_left(self, asker: Asker) -> None:
        """A connection has closed."""
        connection = self._connections.pop(asker, None)
        if connection is not None:
            connection.box.connections.remove(connection)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _room(self, connection: Connection) -> int:
        return IN_FLIGHT_COUNT_MAX - len(connection.in_flight)

    def _read(self, connection: Connection) -> None:
        """Read what a connection was not sent, as much as there is room for."""
        count = self._room(connection)
        if connection.is_behind and not connection.asked_count and count:
            connection.asked_count = count
            connection.is_missing = False
            box = connection.box
            query = ReadInbox(box.owner, box.client_id, connection.sent, count)
            size_bytes = count * TEXT_LENGTH_MAX
            self._reads.ask_for(connection.asker, query, self._found, connection, size_bytes)

    def _found(
        self, connection: Connection, answer: "list[tuple[int, StoredJob]] | JournalError", now: float
    ) -> None:
        del now
        asked_count, connection.asked_count = connection.asked_count, 0
        if self._connections.get(connection.asker) is not connection or isinstance(answer, JournalError):
            return
        for number, stored in answer:
            change = stored.change
            if change.state in ENDED:
                state = JobState(change.state)
                message = _message(stored.new.job_id, number, state, change.code, change.error)
                self._send(connection, message)
            else:  # it was tried again since, by hand
                connection.sent = number
        connection.is_behind = connection.is_missing or len(answer) == asked_count
        self._read(connection)

    def _send(self, connection: Connection, message: JobEnded) -> None:
        """Send a message, with how many before it are missing."""
        number = message.number
        assert number is not None
        message.dropped = number - connection.sent - 1
        connection.sent = number
        connection.in_flight.append(number)
        connection.asker.answer(message)

    def _box(self, owner: str, client_id: str) -> Box | None:
        """The inbox of a client, which was used last now; None if there is no room for another."""
        boxes, key = self._boxes, (owner, client_id)
        box = boxes.pop(key, None)
        if box is None:
            if 2 * self._owners.get(owner, 0) >= INBOXES_COUNT_MAX:
                has_room = self._forget_one(owner)
            else:
                has_room = len(boxes) < INBOXES_COUNT_MAX or self._forget_one(None)
            if not has_room:
                return None
            box = Box(owner, client_id, self._first_number, self._first_number)
            self._owners[owner] = self._owners.get(owner, 0) + 1
            if self._first_number:
                self._writer.entry.batch.acknowledged.append((owner, client_id, self._first_number))
        boxes[key] = box
        return box

    def _forget_one(self, owner: str | None) -> bool:
        """Forget the inbox, of this identity if one is given, that was used longest ago and has no connection. The
        numbers of new ones go on after its own, so that none of its client's is given twice."""
        box = next(
            (box for box in self._boxes.values() if not box.connections and owner in {None, box.owner}), None
        )
        if box is None:
            return False
        del self._boxes[box.owner, box.client_id]
        self._owners[box.owner] -= 1
        if not self._owners[box.owner]:
            del self._owners[box.owner]
        self._writer.entry.batch.inboxes_gone.append((box.owner, box.client_id, box.number))
        self._counts.inbox_count -= box.waiting_count
        self._counts.inbox_dropped_count += box.waiting_count
        self._first_number = max(self._first_number, box.number)
        return True


def _message(job_id: str, number: int, state: JobState, code: str | None, error: str | None) -> JobEnded:
    return JobEnded(job_id, state.name.lower(), number, code, error)
