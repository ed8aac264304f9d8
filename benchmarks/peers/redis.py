"""Requesters and workers of the load on redis-server: a list of requests, a channel for answers.

They speak RESP (redis.io/docs/latest/develop/reference/protocol-spec). It is the leanest pattern that a careful user
would write: BLMPOP (Redis 7) takes all waiting requests in one command, BRPOP just one; PUBLISH hands an answer
straight to a requester that subscribes, a list of answers would take two more commands; and RESP3 lets that requester
push its requests on the same connection. Events are published to a channel.
"""

from secrets import token_hex

from ..connection import Connection
from ..event_stream import EventStream
from ..load import IN_FLIGHT_COUNT_PER_REQUESTER, WORKER_CONCURRENCY, Load
from ..request_stream import Lanes, RequestStream

_INBOX_BYTES = 22
_LANE_DIGITS = 8
_NOTE_BYTES = _INBOX_BYTES + _LANE_DIGITS


class RedisConnection(Connection):
    """A connection whose replies start with a line."""

    __slots__ = ()

    def refused(self, buffer: bytearray, position: int, end: int) -> None:
        """Fails with the reply at `position`, which the load does not expect."""
        line = bytes(buffer[position : min(end, position + 200)])
        self.fail(f"redis-server: {line.decode(errors='replace').splitlines()[0]}")


class RedisRequester(RedisConnection):
    """A requester with IN_FLIGHT_COUNT_PER_REQUESTER requests of `echo` in flight."""

    __slots__ = ("_answer_bytes", "_answer_head", "_inbox", "_is_subscribed", "_lanes")

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._inbox = token_hex(_INBOX_BYTES // 2).encode()
        self._is_subscribed = False
        messages = [
            command(b"RPUSH", b"echo", b"%b%0*d%b" % (self._inbox, _LANE_DIGITS, lane, load.data))
            for lane in range(IN_FLIGHT_COUNT_PER_REQUESTER)
        ]
        answer_bytes = _LANE_DIGITS + len(load.data)
        self._answer_head = b">3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n" % (
            _INBOX_BYTES,
            self._inbox,
            answer_bytes,
        )
        self._answer_bytes = len(self._answer_head) + answer_bytes + 2
        self._lanes = Lanes(messages, stream)

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def greet(self) -> None:
        self.send(command(b"HELLO", b"3") + command(b"SUBSCRIBE", self._inbox))

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0 if self._is_subscribed else self._take_welcome(buffer, end)
        head_bytes = len(self._answer_head)
        while position < end:
            if buffer[position] == 0x3E:  # the > of a push
                after = position + self._answer_bytes
                if after > end:
                    return position
                if not buffer.startswith(self._answer_head, position):
                    self.refused(buffer, position, end)
                    return end
                lane_start = position + head_bytes
                message = self._lanes.answered(int(buffer[lane_start : lane_start + _LANE_DIGITS]))
                if message is not None:
                    self.send(message)
                position = after
                continue
            # The answer to an RPUSH: the length of the list.
            line_end = buffer.find(b"\r\n", position, end)
            if line_end < 0:
                return position
            if buffer[position] != 0x3A:  # the : of an integer
                self.refused(buffer, position, end)
                return end
            position = line_end + 2
        return position

    def _take_welcome(self, buffer: bytearray, end: int) -> int:
        if buffer.startswith(b"-"):
            self.refused(buffer, 0, end)
            return end
        subscribed = b">3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (_INBOX_BYTES, self._inbox)
        start = buffer.find(subscribed, 0, end)
        if start < 0:
            return 0
        self._is_subscribed = True
        self.welcomed()
        return start + len(subscribed)


class RedisWorker(RedisConnection):
    """A worker that takes up to WORKER_CONCURRENCY requests at once and answers each with the load's data."""

    __slots__ = ("_after_inbox", "_data", "_message_bytes", "_take", "_untaken_count")

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)
        self._data = load.data
        self._message_bytes = _NOTE_BYTES + len(load.data)
        self._after_inbox = b"\r\n$%d\r\n" % (_LANE_DIGITS + len(load.data))
        self._take = command(*(b"BLMPOP", b"0", b"1", b"echo", b"LEFT", b"COUNT", b"%d" % WORKER_CONCURRENCY))
        self._untaken_count = 0

    def greet(self) -> None:
        self.send(command(b"PING"))

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0
        while True:
            line_end = buffer.find(b"\r\n", position, end)
            if line_end < 0:
                return position
            match buffer[position]:
                case 0x24:  # the $ of a string: the name of the list, or a request
                    after = line_end + 2 + int(buffer[position + 1 : line_end]) + 2
                    if after > end:
                        return position
                    if after - line_end - 4 == self._message_bytes:
                        self._answer(bytes(buffer[line_end + 2 : line_end + 2 + _NOTE_BYTES]))
                    position = after
                case 0x2A:  # the * of an array: of name and requests, or of the requests
                    self._untaken_count = int(buffer[position + 1 : line_end])
                    position = line_end + 2
                case 0x3A:  # the : of the answer to a PUBLISH: how many received it
                    position = line_end + 2
                case 0x2B:  # the + of PONG
                    self.welcomed()
                    self.send(self._take)
                    position = line_end + 2
                case _:
                    self.refused(buffer, position, end)
                    return end

    def _answer(self, note: bytes) -> None:
        inbox, lane = note[:_INBOX_BYTES], note[_INBOX_BYTES:]
        self.send(
            b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b%b%b%b\r\n"
            % (_INBOX_BYTES, inbox, self._after_inbox, lane, self._data)
        )
        self._untaken_count -= 1
        if self._untaken_count == 0:
            self.send(self._take)


class RedisSubscriber(RedisConnection):
    """A subscriber that counts the events of the channel `news`."""

    __slots__ = ("_delivered", "_event", "_is_subscribed")

    def __init__(self, load: Load, stream: EventStream) -> None:
        super().__init__(load, stream)
        self._event = command(b"message", b"news", load.data)
        self._delivered = stream.delivered
        self._is_subscribed = False

    def greet(self) -> None:
        self.send(command(b"SUBSCRIBE", b"news"))

    def receive(self, buffer: bytearray, end: int) -> int:
        start = 0 if self._is_subscribed else self._take_welcome(buffer, end)
        # All events are the same, and nothing else follows the welcome.
        count = (end - start) // len(self._event)
        after = start + count * len(self._event)
        if not count:
            return start
        if buffer.count(self._event, start, after) != count:
            self.refused(buffer, start, end)
            return end
        self._delivered(count)
        return after

    def _take_welcome(self, buffer: bytearray, end: int) -> int:
        if buffer.startswith(b"-"):
            self.refused(buffer, 0, end)
            return end
        subscribed = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
        if end < len(subscribed):
            return 0
        if not buffer.startswith(subscribed):
            self.refused(buffer, 0, end)
            return end
        self._is_subscribed = True
        self.welcomed()
        return len(subscribed)


class RedisPublisher(RedisConnection):
    """Publishes the load's data to the channel `news`; each event is answered with the number of its receivers."""

    __slots__ = ("_message",)

    def __init__(self, load: Load, stream: EventStream) -> None:
        super().__init__(load, stream)
        self._message = command(b"PUBLISH", b"news", load.data)

    def publish(self, event_count: int) -> None:
        """Publish so many events in one write."""
        self.send(self._message * event_count)
        self.flush()

    def greet(self) -> None:
        self.send(command(b"PING"))

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0
        while True:
            line_end = buffer.find(b"\r\n", position, end)
            if line_end < 0:
                return position
            if buffer[position] == 0x2B:  # the + of PONG
                self.welcomed()
            elif buffer[position] != 0x3A:  # the : of a number
                self.refused(buffer, position, end)
                return end
            position = line_end + 2


def command(*words: bytes) -> bytes:
    """A command as Redis reads it: an array of strings."""
    strings = (b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words), b"".join(strings))
