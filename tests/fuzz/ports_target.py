"""Both WebSocket ports of a broker against websockets, json and msgspec: any bytes, and any sequence of messages.

A broker runs in this process for all inputs, with two workers of ours that send back what they get (one speaks JSON,
one MessagePack) and one requester. Each input is one connection. The first byte of an input says to which port, in
which encoding and how; the rest is either written as it is, or is messages, divided by SEPARATOR, in frames that
websockets makes. Another websockets object, in the role of a server, is the oracle of what arrives: the same messages
must be answered, and the connection must end with the same close code. Afterwards nothing may be left of the
connection, and nothing may have been logged as a defect.
"""

import asyncio
import contextlib
import json
import logging
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
from taskferry.broker.broker import Broker
from taskferry.broker.core.invariants import check_invariants
from taskferry.broker.settings import BrokerSettings
from taskferry.protocol import messages
from taskferry.protocol.codec import CODECS, DECODE_ERRORS
from taskferry.protocol.encodings import Encoding
from taskferry.transport.connect import connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

SEPARATOR: Final = b"\xff\xfe\xff"
"""Between two messages of an input: neither JSON nor MessagePack has it."""
MESSAGES_COUNT_MAX: Final = 32
PATIENCE_S: Final = 20.0
"""For one input. It is used up only by a broker that never answers: that is a finding."""
HEAD_ALONE_S: Final = 0.05
LAST_PING: Final = b"the end of the input"
OPCODES: Final = {Encoding.JSON: Opcode.TEXT, Encoding.MSGPACK: Opcode.BINARY}
CALLS_COUNT: Final = 2
"""Assignments that a fuzzed worker gets once it has said which command it serves."""
COMMAND: Final = "fuzzed"
HELLO: Final = {"type": "connect", "data": {"commands": [COMMAND], "concurrency": CALLS_COUNT}}
MSG_IDS: Final = tuple(f"MSG{number}" for number in range(CALLS_COUNT))
"""In an input these stand for the msg_ids of its assignments, which nobody can know before."""

_REQUEST: Final = {"command": "echo", "request_id": "r1", "data": {"a": [1, 2.5, None, "é"]}}
_RESPONSE: Final = {"type": "response", "msg_id": "MSG0", "data": {"success": True, "result": {"x": [1]}}}
_FAILURE: Final = {
    "type": "response",
    "msg_id": "MSG1",
    "data": {"success": False, "error": "no", "code": "x"},
}


def _both(*values: object) -> tuple[bytes, ...]:
    return tuple(
        encode(value) for value in values for encode in (msgspec.json.encode, msgspec.msgpack.encode)
    )


WORDS: Final = (
    SEPARATOR,
    *_both(_REQUEST, _RESPONSE, _FAILURE, HELLO),
    *_both({"type": "cancel", "request_id": "r1"}, {"type": "ping", "request_id": "p"}),
    *_both({"type": "heartbeat", "msg_id": "h"}, {"type": "disconnect", "data": {"reason": "bye"}}),
    *_both({"type": "error", "data": {"code": "x", "error": "y"}}, {"type": "custom"}, {"command": "nobody"}),
    *(
        b'"timeout":',
        b'"priority":',
        b'"target":',
        b'"hedge":',
        b'"idempotent":true',
        b'"affinity":',
        b'"trace":',
    ),
    *(
        b"\x81\x80\x00\x00\x00\x00",
        b"\x89\x80\x00\x00\x00\x00",
        b"\x88\x82\x00\x00\x00\x00\x03\xe8",
        b"\x01\x82",
    ),
    *(
        b"null",
        b"1e999",
        b"NaN",
        b"-1",
        b"\\ud800",
        b"\xc0",
        b"[" * 50,
        b'{"a":' * 20,
        b"MSG0",
        b"MSG1",
        b"\x00",
    ),
)


class Defects(logging.Handler):
    """What our programs log as an error: nothing that a peer sends may cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class EchoWorker:
    """Serves `echo`, and `echo.json` or `echo.msgpack`, and sends `params` back at once."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._codec = CODECS[encoding]
        self.is_welcome = asyncio.Event()

    def link_opened(self, link: Link) -> None:
        self._link = link
        offer = {"commands": ["echo", f"echo.{self._encoding.value}"], "concurrency": 1000}
        link.send(self._codec.encode({"type": "connect", "data": offer}))

    def messages_received(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            message = self._codec.from_broker(payload)
            if isinstance(message, messages.Connected):
                self.is_welcome.set()
            elif isinstance(message, messages.AssignmentMessage):
                data = {"success": True, "result": message.data.params}
                self._link.send(
                    self._codec.encode({"type": "response", "msg_id": message.msg_id, "data": data})
                )

    def wrong_kind_received(self) -> None:
        raise AssertionError("a broker sends the kind that was agreed")

    def link_closed(self, reason: str) -> None:
        """With the process."""


class Caller:
    """A requester of ours, which remembers how its calls ended."""

    def __init__(self) -> None:
        self.ended: list[messages.Outcome] = []

    def link_opened(self, link: Link) -> None:
        self.link = link

    def messages_received(self, payloads: list[bytes]) -> None:
        self.ended += map(CODECS[Encoding.JSON].outcome, payloads)

    def wrong_kind_received(self) -> None:
        raise AssertionError("a broker sends the kind that was agreed")

    def link_closed(self, reason: str) -> None:
        """With the process."""


class Peer:
    """The fuzzed connection: bytes out, and websockets' view of both directions."""

    def __init__(self, encoding: Encoding, size_bytes_max: int) -> None:
        subprotocol = Subprotocol(encoding.subprotocol)
        self.client = ClientProtocol(parse_uri("ws://localhost/"), subprotocols=[subprotocol], max_size=None)
        self.oracle = ServerProtocol(subprotocols=[subprotocol], max_size=size_bytes_max)
        self.arrived: list[tuple[Opcode, bytes]] = []
        """Whole messages that a server of websockets makes of what was written."""
        self.answers: list[bytes] = []
        self.pongs: list[bytes] = []
        self.is_text_broken = False
        self._fragments: list[tuple[Opcode, bytes]] = []
        self._opcode = OPCODES[encoding]

    async def open(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self.client.send_request(self.client.connect())
        head = b"".join(self.client.data_to_send())
        self._writer.write(head)
        self.oracle.receive_data(head)
        (request,) = self.oracle.events_received()
        self.oracle.send_response(self.oracle.accept(request))  # type: ignore[arg-type]  # a request
        self.oracle.data_to_send()
        while self.client.state is State.CONNECTING:
            await self._read()
        assert self.client.state is State.OPEN, self.client.handshake_exc

    @property
    def is_open(self) -> bool:
        """Whether a server of websockets would still read."""
        return self.oracle.state is State.OPEN and not self.is_text_broken

    @property
    def is_whole(self) -> bool:
        """And whether it is not in the middle of a message, or of a frame: between frames its parser asks whether there
        is more."""
        parser: Any = self.oracle.parser  # a generator, which has more than the type of that name
        is_between_frames = parser.gi_yieldfrom.__name__ == "at_eof"
        return self.is_open and is_between_frames and self.oracle.current_size is None

    @property
    def close_code(self) -> int | None:
        """What a server of websockets would close with, if it would."""
        if self.is_text_broken:
            return CloseCode.INVALID_DATA
        return None if self.oracle.close_sent is None else self.oracle.close_sent.code

    def write(self, data: bytes) -> None:
        self._writer.write(data)
        if self.is_open:
            self.oracle.receive_data(data)
        for event in self.oracle.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._fragments = []
            elif event.opcode is not Opcode.CONT:
                continue
            self._fragments.append((event.opcode, bytes(event.data)))
            if event.fin:
                self._message(self._fragments[0][0], b"".join(part for _, part in self._fragments))

    def _message(self, opcode: Opcode, payload: bytes) -> None:
        """websockets leaves it to its callers to decode text, which fails the connection if it is not UTF-8."""
        if opcode is Opcode.TEXT and self._opcode is Opcode.TEXT:
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.is_text_broken = True
        if not self.is_text_broken:
            self.arrived.append((opcode, payload))

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Read until `is_true`, or the broker has closed. It may ping at any time."""
        while not is_true() and await self._read():
            pass

    async def until_closed(self, size_bytes_max: int) -> None:
        """Read until the broker has sent a close frame. A link looks at a frame that it will refuse when all of it is
        there, unless it is too large; so if nothing comes, the rest of the frame is sent."""
        try:
            async with asyncio.timeout(HEAD_ALONE_S):
                await self.until(lambda: self.client.close_rcvd is not None)
        except TimeoutError:
            self._writer.write(bytes(size_bytes_max + 14))
            await self.until(lambda: self.client.close_rcvd is not None)

    async def _read(self) -> bool:
        data = await self._reader.read(65536)
        if data:
            self.client.receive_data(data)
        elif self.client.state is not State.CLOSED:
            self.client.receive_eof()
        for event in self.client.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.PONG:
                self.pongs.append(bytes(event.data))
            elif isinstance(event, Frame) and event.opcode not in (Opcode.CLOSE, Opcode.PING):
                assert event.opcode is self._opcode, event
                assert event.fin, event
                self.answers.append(bytes(event.data))
        assert self.client.parser_exc is None or isinstance(self.client.parser_exc, EOFError), (
            self.client.parser_exc
        )
        self.client.data_to_send()  # what it would answer is not what this input is
        return bool(data)

    def close(self) -> None:
        self._writer.close()


class World:
    """The broker and those of its peers that behave."""

    def __init__(self) -> None:
        self.defects = Defects()
        logging.getLogger("taskferry").addHandler(self.defects)
        logging.getLogger("taskferry").setLevel(logging.ERROR)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.defects.texts.append(str(context)))
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        ports = BrokerSettings(worker_port=0, requester_port=0, api_port=0, message_size_bytes_max=65536)
        self.broker = Broker(ports)
        await self.broker.start()
        group, settings = LinkGroup(), LinkSettings()
        for encoding in Encoding:
            worker = EchoWorker(encoding)
            await connect(f"ws://127.0.0.1:{self.broker.worker_port}", worker, group, settings, encoding)
            await worker.is_welcome.wait()
        self.caller = Caller()
        url = f"ws://127.0.0.1:{self.broker.requester_port}"
        await connect(url, self.caller, group, settings, Encoding.JSON)
        await self._until(lambda: len(self.broker.core.roster.workers) == len(Encoding))

    async def _until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            await asyncio.sleep(0)

    def check(self, data: bytes) -> str:
        try:
            return self.loop.run_until_complete(asyncio.wait_for(self._input(data), PATIENCE_S))
        finally:
            assert not self.defects.texts, self.defects.texts

    async def _input(self, data: bytes) -> str:
        head, body = (data[0], data[1:]) if data else (0, b"")
        encoding = Encoding.MSGPACK if head & 1 else Encoding.JSON
        is_worker, is_raw, is_split = bool(head & 2), bool(head & 4), bool(head & 8)
        peer = Peer(encoding, self.broker.settings.message_size_bytes_max)
        core = self.broker.core
        await peer.open(self.broker.worker_port if is_worker else self.broker.requester_port)
        self.caller.ended = []
        names: dict[bytes, bytes] = {}
        if is_worker and head & 16:
            names = await self._greet(peer, encoding)
        for name, msg_id in names.items():
            body = body.replace(name, msg_id)
        first = len(peer.arrived)
        if is_raw:
            _write_pieces(peer, body, 1 + (head >> 5) * 7)
        else:
            _write_messages(peer, body, OPCODES[encoding], is_split=is_split)
        if peer.is_whole:
            peer.write(Frame(Opcode.PING, LAST_PING).serialize(mask=True))
            await peer.until(lambda: LAST_PING in peer.pongs)
            if not is_worker:
                await self._until(lambda: not core.counts.in_flight_count)
            peer.write(Frame(Opcode.PING, LAST_PING * 2).serialize(mask=True))
            await peer.until(lambda: LAST_PING * 2 in peer.pongs)
        elif not peer.is_open:
            await peer.until_closed(self.broker.settings.message_size_bytes_max)
            _same_close(peer)
        kinds = [_decoded(encoding, answer) for answer in peer.answers]
        if is_worker:
            answer = _worker_answers(peer, kinds, first, encoding, bool(names))
        else:
            answer = _requester_answers(peer, kinds, encoding)
        peer.close()
        await self._until(lambda: not core.counts.in_flight_count)
        await self._until(lambda: len(core.roster.workers) == len(Encoding))
        if names:
            await self._until(lambda: len(self.caller.ended) >= CALLS_COUNT)
            assert sorted(str(one.request_id) for one in self.caller.ended) == ["call-0", "call-1"]
        check_invariants(core)
        return f"{is_worker}, {encoding.value}, {is_raw}, {answer}"

    async def _greet(self, peer: Peer, encoding: Encoding) -> dict[bytes, bytes]:
        """Register the fuzzed worker and give it assignments. Returns what stands for each of their msg_ids."""
        encode = CODECS[encoding].encode
        peer.write(Frame(OPCODES[encoding], encode(HELLO)).serialize(mask=True))
        await peer.until(lambda: len(peer.answers) == 1)
        for number in range(CALLS_COUNT):
            call = {"command": COMMAND, "request_id": f"call-{number}", "data": {"n": number}, "timeout": 600}
            self.caller.link.send(json.dumps(call).encode())
        await peer.until(lambda: len(peer.answers) == 1 + CALLS_COUNT)
        ids = [_decoded(encoding, answer)["msg_id"] for answer in peer.answers[1:]]
        peer.answers.clear()
        return {encode(name): encode(msg_id) for name, msg_id in zip(MSG_IDS, ids, strict=True)}


def _write_pieces(peer: Peer, body: bytes, size: int) -> None:
    for start in range(0, len(body), size):
        peer.write(body[start : start + size])


def _write_messages(peer: Peer, body: bytes, opcode: Opcode, *, is_split: bool) -> None:
    for payload in body.split(SEPARATOR)[:MESSAGES_COUNT_MAX]:
        if is_split:
            half = len(payload) // 2
            peer.write(Frame(opcode, payload[:half], fin=False).serialize(mask=True))
            peer.write(Frame(Opcode.CONT, payload[half:]).serialize(mask=True))
        else:
            peer.write(Frame(opcode, payload).serialize(mask=True))


def _same_close(peer: Peer) -> None:
    """The broker must close as websockets would, unless it has closed for a reason of its own before."""
    got = peer.client.close_rcvd
    assert got is not None, f"no close frame; websockets would send {peer.close_code}"
    assert got.code in (peer.close_code, CloseCode.POLICY_VIOLATION), (got, peer.close_code)


def _decoded(encoding: Encoding, answer: bytes) -> Any:
    """An answer of the broker, read by a library that is not the one that wrote it, where there is one."""
    if encoding is Encoding.JSON:
        return json.loads(answer)
    fields = msgspec.msgpack.decode(answer, type=dict[str, msgspec.Raw])
    return {name: _value(encoding, bytes(raw)) for name, raw in fields.items()}


def _requester_answers(peer: Peer, answers: list[Any], encoding: Encoding) -> str:
    """Each message has its one answer: the kinds that there were."""
    expected: Counter[str] = Counter()
    may_be_missing = not peer.is_whole  # the broker closed, or was not asked whether it is done
    values: dict[str, list[Any]] = {}
    for opcode, payload in peer.arrived:
        if opcode is not OPCODES[encoding]:
            expected["refused"] += 1
            continue
        message = _same(CODECS[encoding].request, payload, encoding)
        if message is None:
            expected["refused"] += 1
        elif message.command is not msgspec.UNSET:
            expected["ended"] += 1
            if message.request_id is not None:
                data = CODECS[encoding].empty_data if message.data is msgspec.UNSET else message.data
                values.setdefault(message.request_id, []).append(bytes(data))
        else:
            kind = _control_kind(message, payload, encoding)
            if kind:
                expected[kind] += 1
    got: Counter[str] = Counter()
    for answer in answers:
        if answer.get("type") in ("pong", "auth"):
            got["pong"] += 1
            continue
        is_refusal = not answer["success"] and answer["code"] in ("bad_request", "too_large")
        got["refused" if is_refusal else "ended"] += 1
        if answer["success"] and answer["request_id"] in values:
            sent = [_value(encoding, raw) for raw in values[answer["request_id"]]]
            assert any(_equal(answer["data"], value) for value in sent), (answer, sent)
    if may_be_missing:
        assert sum(got.values()) <= sum(expected.values()), (got, expected)
    else:
        # A request that says what its command may not take is refused by the core, under the same code.
        assert sum(got.values()) == sum(expected.values()), (got, expected, answers)
        assert got["pong"] == expected["pong"], (got, expected)
        assert got["refused"] >= expected["refused"], (got, expected)
    codes = sorted({str(answer.get("code")) for answer in answers})
    return f"{min(len(peer.arrived), 4)}, {codes}, {peer.close_code}"


def _control_kind(message: messages.Request, payload: bytes, encoding: Encoding) -> str:
    """What answers a message of a requester that is not a request, or nothing."""
    if message.type is msgspec.UNSET:
        return "refused"
    match _decoded_or_none(CODECS[encoding].requester_control, payload):
        case messages.Cancel():
            return ""
        case messages.Ping() | messages.Auth():
            return "pong"
        case _:
            return "refused"


def _worker_answers(peer: Peer, answers: list[Any], first: int, encoding: Encoding, is_greeted: bool) -> str:
    """A registered worker gets one error for each message that cannot be understood, and no other."""
    refused = 0
    is_registered = is_greeted
    for opcode, payload in peer.arrived[first:]:
        message = None
        if opcode is OPCODES[encoding]:
            message = _same(CODECS[encoding].from_worker, payload, encoding)
        refused += message is None
        is_registered = is_registered or isinstance(message, messages.WorkerConnect)
    errors = [answer for answer in answers if answer["type"] == "error"]
    if is_greeted and peer.is_whole:
        assert len(errors) >= refused, (errors, refused)
        codes = [answer["data"]["code"] for answer in errors]
        assert codes.count("bad_message") >= refused, codes
        assert set(codes) <= {"bad_message", "unknown_assignment", "too_large"}, codes
    codes = sorted({answer["data"]["code"] for answer in errors})
    kinds = sorted({answer["type"] for answer in answers})
    return f"{is_registered}, {codes}, {kinds}, {peer.close_code}"


def _same(decode: Callable[[bytes], Any], payload: bytes, encoding: Encoding) -> Any:
    """The message that msgspec reads, or None; what it accepts must be JSON to `json` too."""
    message = _decoded_or_none(decode, payload)
    if message is not None and encoding is Encoding.JSON:
        with contextlib.suppress(RecursionError):
            json.loads(payload)
    return message


def _decoded_or_none(decode: Callable[[bytes], Any], payload: bytes) -> Any:
    try:
        return decode(payload)
    except DECODE_ERRORS:
        return None


def _value(encoding: Encoding, raw: bytes) -> Any:
    """Data between peers of MessagePack is passed on unchecked: if msgspec cannot read it, as a text that is not UTF-8,
    it is its bytes."""
    if encoding is Encoding.JSON:
        return json.loads(raw)
    try:
        return msgspec.msgpack.decode(raw)
    except DECODE_ERRORS:
        return raw


def _equal(one: Any, other: Any) -> bool:
    """Like ==, but a NaN equals itself, and true is not 1."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other and isinstance(one, bool) is isinstance(other, bool)


_world: World | None = None


def check(data: bytes) -> str:
    """How `data` was answered. Raises AssertionError if anything differs from what the oracles say."""
    global _world  # noqa: PLW0603  one broker for all inputs of a process
    if _world is None:
        _world = World()
    return _world.check(data)
