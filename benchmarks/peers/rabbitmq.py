"""Requesters and workers of the load on a RabbitMQ node, in AMQP 0-9-1 (rabbitmq.com/amqp-0-9-1-protocol).

Answers use direct reply-to (rabbitmq.com/docs/direct-reply-to), RabbitMQ's own recommendation for request and reply:
they go straight to the requester's channel, without a queue. Nothing is acknowledged or stored on disk, as with the
other brokers here.
"""

from abc import abstractmethod
from enum import IntEnum

from ..connection import Connection
from ..load import IN_FLIGHT_COUNT_PER_REQUESTER, Load
from ..request_stream import Lanes, RequestStream

_LANE_DIGITS = 8
_FRAME_HEAD_BYTES = 7
_FRAME_BYTES_MAX = 131_072
_REPLY_TO = b"amq.rabbitmq.reply-to"

_CORRELATION_ID = 0x0400
_REPLY_TO_FLAG = 0x0200
_NO_TABLE = b"\0\0\0\0"


class Method:
    """Class and method number of what is sent or expected, as at the beginning of a method frame."""

    START, START_OK = b"\0\x0a\0\x0a", b"\0\x0a\0\x0b"
    TUNE, TUNE_OK = b"\0\x0a\0\x1e", b"\0\x0a\0\x1f"
    OPEN, OPEN_OK = b"\0\x0a\0\x28", b"\0\x0a\0\x29"
    CHANNEL_OPEN, CHANNEL_OPEN_OK = b"\0\x14\0\x0a", b"\0\x14\0\x0b"
    DECLARE, DECLARE_OK = b"\0\x32\0\x0a", b"\0\x32\0\x0b"
    CONSUME, CONSUME_OK = b"\0\x3c\0\x14", b"\0\x3c\0\x15"
    PUBLISH, DELIVER = b"\0\x3c\0\x28", b"\0\x3c\0\x3c"


class Frame(IntEnum):
    """The types of frame."""

    METHOD = 1
    HEADER = 2
    BODY = 3


def frame(kind: Frame, channel: int, payload: bytes) -> bytes:
    """One frame."""
    return b"%b%b%b%b\xce" % (
        bytes([kind]),
        channel.to_bytes(2, "big"),
        len(payload).to_bytes(4, "big"),
        payload,
    )


def short_string(text: bytes) -> bytes:
    """Up to 255 octets after a one-octet length."""
    return bytes([len(text)]) + text


def long_string(text: bytes) -> bytes:
    """The same with a four-octet length."""
    return len(text).to_bytes(4, "big") + text


def content(body: bytes, flags: int, properties: bytes) -> bytes:
    """The header frame and as many body frames as needed."""
    head = b"\0\x3c\0\0" + len(body).to_bytes(8, "big") + flags.to_bytes(2, "big") + properties
    step = _FRAME_BYTES_MAX - _FRAME_HEAD_BYTES - 1
    bodies = (frame(Frame.BODY, 1, body[start : start + step]) for start in range(0, len(body), step))
    return frame(Frame.HEADER, 1, head) + b"".join(bodies)


def publish(routing_key: bytes) -> bytes:
    """The method frame that sends what follows to the queue `routing_key`."""
    return frame(
        Frame.METHOD, 1, Method.PUBLISH + b"\0\0" + short_string(b"") + short_string(routing_key) + b"\0"
    )


def consume(queue: bytes) -> bytes:
    """The method frame that consumes `queue` without acknowledgements."""
    no_ack = b"\x02"
    return frame(
        Frame.METHOD,
        1,
        Method.CONSUME + b"\0\0" + short_string(queue) + short_string(b"") + no_ack + _NO_TABLE,
    )


class RabbitmqConnection(Connection):
    """A connection with one channel: opened step by step, then a stream of deliveries."""

    __slots__ = ("_body_bytes", "_properties", "_taken_bytes")

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._properties = b""
        self._body_bytes = len(load.data)
        self._taken_bytes = 0

    @abstractmethod
    def prepared(self) -> bytes:
        """What is sent once the channel is open; a ConsumeOk completes the preparations."""

    @abstractmethod
    def take_message(self, properties: bytes) -> None:
        """One whole message has arrived; its flags and properties, as on the wire."""

    def greet(self) -> None:
        self.send(b"AMQP\0\0\x09\x01")

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0
        while end - position >= _FRAME_HEAD_BYTES:
            start = position + _FRAME_HEAD_BYTES
            after = start + int.from_bytes(buffer[position + 3 : start], "big") + 1
            if after > end:
                return position
            match buffer[position]:
                case Frame.METHOD:
                    if not buffer.startswith(Method.DELIVER, start):
                        self._take_method(bytes(buffer[start : after - 1]))
                case Frame.HEADER:
                    self._properties = bytes(buffer[start + 12 : after - 1])
                    self._taken_bytes = 0
                case Frame.BODY:
                    self._taken_bytes += after - 1 - start
                    if self._taken_bytes == self._body_bytes:
                        self.take_message(self._properties)
                case kind:
                    self.fail(f"rabbitmq-server sent a frame of type {kind}")
                    return end
            position = after
        return position

    def _take_method(self, payload: bytes) -> None:
        match payload[:4]:
            case Method.START:
                login = long_string(b"\0guest\0guest")
                words = _NO_TABLE + short_string(b"PLAIN") + login + short_string(b"en_US")
                self.send(frame(Frame.METHOD, 0, Method.START_OK + words))
            case Method.TUNE:
                # One channel, frames as large as RabbitMQ's own default, no heartbeats.
                tuned = (1).to_bytes(2, "big") + _FRAME_BYTES_MAX.to_bytes(4, "big") + b"\0\0"
                vhost = short_string(b"/") + short_string(b"") + b"\0"
                self.send(
                    frame(Frame.METHOD, 0, Method.TUNE_OK + tuned)
                    + frame(Frame.METHOD, 0, Method.OPEN + vhost)
                )
            case Method.OPEN_OK:
                self.send(frame(Frame.METHOD, 1, Method.CHANNEL_OPEN + short_string(b"")))
            case Method.CHANNEL_OPEN_OK:
                self.send(self.prepared())
            case Method.DECLARE_OK:
                pass
            case Method.CONSUME_OK:
                self.welcomed()
            case method:
                self.fail(
                    f"rabbitmq-server sent method {method.hex()}: {payload[4:].decode(errors='replace')}"
                )


class RabbitmqRequester(RabbitmqConnection):
    """A requester with IN_FLIGHT_COUNT_PER_REQUESTER requests in flight."""

    __slots__ = ("_lanes",)

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        messages = [
            publish(b"echo")
            + content(
                load.data,
                _CORRELATION_ID | _REPLY_TO_FLAG,
                short_string(b"%0*d" % (_LANE_DIGITS, lane)) + short_string(_REPLY_TO),
            )
            for lane in range(IN_FLIGHT_COUNT_PER_REQUESTER)
        ]
        self._lanes = Lanes(messages, stream)

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def prepared(self) -> bytes:
        return consume(_REPLY_TO)

    def take_message(self, properties: bytes) -> None:
        # Two octets of flags, one of the length of the correlation id.
        message = self._lanes.answered(int(properties[3 : 3 + _LANE_DIGITS]))
        if message is not None:
            self.send(message)


class RabbitmqWorker(RabbitmqConnection):
    """A consumer of the queue `echo` that answers each message with the load's data."""

    __slots__ = ("_data",)

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)
        self._data = load.data

    def prepared(self) -> bytes:
        auto_delete = b"\x08"
        declared = Method.DECLARE + b"\0\0" + short_string(b"echo") + auto_delete + _NO_TABLE
        return frame(Frame.METHOD, 1, declared) + consume(b"echo")

    def take_message(self, properties: bytes) -> None:
        correlation_id = properties[2 : 3 + _LANE_DIGITS]
        reply_to = properties[4 + _LANE_DIGITS :]
        self.send(publish(reply_to) + content(self._data, _CORRELATION_ID, correlation_id))
