"""Requesters and workers of the load on nats-server, in the NATS client protocol (docs.nats.io, "NATS Protocol").

They use what request and reply need: a requester listens on its own inbox and publishes with a reply subject, workers
share the queue group `workers`. Subscribers and a publisher of events use a subject and nothing else.
"""

from abc import abstractmethod
from secrets import token_hex

from ..connection import Connection
from ..event_stream import EventStream
from ..load import Load
from ..request_stream import Lanes, RequestStream

_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"python","version":"0","protocol":1}\r\n'
_LANE_DIGITS = 8


class NatsConnection(Connection):
    """A connection that speaks the NATS client protocol without headers."""

    __slots__ = ()

    @abstractmethod
    def subscription(self) -> bytes:
        """The SUB line of this peer."""

    @abstractmethod
    def take_message(self, words: list[bytearray]) -> None:
        """One MSG: `words` is its first line, `MSG subject sid [reply] size`."""

    def greet(self) -> None:
        # The server handles these in order, so its PONG confirms the subscription.
        self.send(_CONNECT + self.subscription() + b"PING\r\n")

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0
        while True:
            line_end = buffer.find(b"\r\n", position, end)
            if line_end < 0:
                return position
            if buffer[position] != 0x4D:  # the M of MSG
                self._take_control(bytes(buffer[position:line_end]))
                position = line_end + 2
                continue
            words = buffer[position:line_end].split(b" ")
            after = line_end + 2 + int(words[-1]) + 2
            if after > end:
                return position
            self.take_message(words)
            position = after

    def _take_control(self, line: bytes) -> None:
        match line[:4]:
            case b"PONG":
                self.welcomed()
            case b"PING":
                self.send(b"PONG\r\n")
            case b"-ERR":
                self.fail(f"nats-server: {line.decode(errors='replace')}")


class NatsRequester(NatsConnection):
    """A requester that keeps the load's number of `echo` requests in flight."""

    __slots__ = ("_inbox", "_lanes", "_size_word")

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        # As long as the inboxes of NATS's own clients.
        self._inbox = b"_INBOX.%b" % token_hex(11).encode()
        self._size_word = b"%d" % len(load.data)
        messages = [
            b"PUB echo %b.%0*d %d\r\n%b\r\n" % (self._inbox, _LANE_DIGITS, lane, len(load.data), load.data)
            for lane in range(load.in_flight_count_per_requester)
        ]
        self._lanes = Lanes(messages, stream)

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def subscription(self) -> bytes:
        return b"SUB %b.* 1\r\n" % self._inbox

    def take_message(self, words: list[bytearray]) -> None:
        if words[-1] != self._size_word:
            self.fail("a request was not answered with its data")
            return
        message = self._lanes.answered(int(words[1][-_LANE_DIGITS:]))
        if message is not None:
            self.send(message)


class NatsWorker(NatsConnection):
    """A member of the queue group that answers each `echo` with the load's data."""

    __slots__ = ("_after_reply",)

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)
        self._after_reply = b" %d\r\n%b\r\n" % (len(load.data), load.data)

    def subscription(self) -> bytes:
        return b"SUB echo workers 1\r\n"

    def take_message(self, words: list[bytearray]) -> None:
        self.send(b"PUB " + words[3] + self._after_reply)


class NatsSubscriber(NatsConnection):
    """A subscriber that counts the events of the subject `news`."""

    __slots__ = ("_delivered", "_event")

    def __init__(self, load: Load, stream: EventStream) -> None:
        super().__init__(load, stream)
        self._event = b"MSG news 1 %d\r\n%b\r\n" % (len(load.data), load.data)
        self._delivered = stream.delivered

    def subscription(self) -> bytes:
        return b"SUB news 1\r\n"

    def receive(self, buffer: bytearray, end: int) -> int:
        # All events are the same: here they fill the buffer, with nothing in between.
        count = end // len(self._event)
        taken = count * len(self._event)
        if count and buffer.count(self._event, 0, taken) == count:
            self._delivered(count)
            return taken
        return super().receive(buffer, end)

    def take_message(self, words: list[bytearray]) -> None:
        self._delivered(1)


class NatsPublisher(NatsConnection):
    """Publishes the load's data to the subject `news`; nothing is answered."""

    __slots__ = ("_message",)

    def __init__(self, load: Load, stream: EventStream) -> None:
        super().__init__(load, stream)
        self._message = b"PUB news %d\r\n%b\r\n" % (len(load.data), load.data)

    def publish(self, event_count: int) -> None:
        """Publish so many events in one write."""
        self.send(self._message * event_count)
        self.flush()

    def subscription(self) -> bytes:
        return b""

    def take_message(self, words: list[bytearray]) -> None:
        self.fail("a publisher was sent an event")
