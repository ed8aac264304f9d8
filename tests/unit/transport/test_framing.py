"""The short path of `Framing` reads exactly what websockets' own protocol object reads, and its memory is bounded."""

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from taskferry.transport.framing import FRAGMENT_SIZE_BYTES_MIN, LARGE_PARTS_COUNT, LARGE_SIZE_BYTES, Framing
from websockets.client import ClientProtocol
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from websockets.uri import parse_uri

from tests.each_case import each_case
from tests.unit.transport import frames
from tests.unit.transport.frames import RawFrame

Protocol = ServerProtocol | ClientProtocol
ROLES = ["server", "client"]
KINDS = [Opcode.TEXT, Opcode.BINARY]


def make_protocol(role: str, size_bytes_max: int = 2**20) -> Protocol:
    """A protocol object whose handshake is over."""
    if role == "server":
        return ServerProtocol(state=State.OPEN, max_size=size_bytes_max)
    return ClientProtocol(parse_uri("ws://broker"), state=State.OPEN, max_size=size_bytes_max)


def make_framing(role: str, kind: Opcode, size_bytes_max: int = 2**20) -> Framing:
    return Framing(make_protocol(role, size_bytes_max), kind, size_bytes_max)


def written(protocol: Protocol) -> list[Frame | None]:
    """What the protocol object wants sent, unmasked; None is the end of the stream."""
    found: list[Frame | None] = []
    for data in protocol.data_to_send():
        reader = StreamReader()
        reader.feed_data(data)
        parser = Frame.parse(reader.read_exact, mask=isinstance(protocol, ClientProtocol))
        try:
            if data:
                next(parser)
                raise AssertionError("half a frame was written")
            found.append(None)
        except StopIteration as stop:
            found.append(stop.value)
    return found


@dataclass
class Reading:
    """Everything that can be observed of one end after it has read what the other end sent."""

    messages: list[bytes] = field(default_factory=list)
    wrong_kind_count: int = 0
    written: list[Frame | None] = field(default_factory=list)
    state: State = State.OPEN
    close_sent: Close | None = None
    close_received: Close | None = None
    received_then_sent: bool | None = None
    failure: type[Exception] | None = None

    def conclude(self, protocol: Protocol) -> "Reading":
        self.written = written(protocol)
        self.state = protocol.state
        self.close_sent = protocol.close_sent
        self.close_received = protocol.close_rcvd
        self.received_then_sent = protocol.close_rcvd_then_sent
        self.failure = None if protocol.parser_exc is None else type(protocol.parser_exc)
        return self


def local_close(protocol: Protocol) -> None:
    if protocol.state is State.OPEN:
        protocol.send_close(CloseCode.GOING_AWAY, "enough")


def local_ping(protocol: Protocol) -> None:
    if protocol.state is State.OPEN:
        protocol.send_ping(b"there?")


Step = RawFrame | Callable[[Protocol], None]


@dataclass(frozen=True)
class Conversation:
    """What reaches one end, and in what pieces: the bytes of a run of frames arrive in chunks of these sizes and, when
    the sizes are used up, in the rest at once; as bytes, or as a view of memory that is reused."""

    role: str
    kind: Opcode
    size_bytes_max: int
    steps: tuple[Step, ...]
    is_ended: bool
    chunk_sizes: tuple[int, ...]
    is_view: bool


def read_plainly(it: Conversation) -> Reading:
    """The reference: every frame through websockets' protocol object, and RFC 6455's rule on text (8.1) on top."""
    protocol = make_protocol(it.role, it.size_bytes_max)
    reading = Reading()
    fragments: list[bytes] = []
    message_kind = Opcode.CONT
    for step in it.steps:
        if not isinstance(step, RawFrame):
            step(protocol)
            continue
        protocol.receive_data(step.to_bytes())
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in KINDS:
                message_kind = event.opcode
                fragments = []
            elif event.opcode is not Opcode.CONT:
                continue
            fragments.append(bytes(event.data))
            if not event.fin:
                continue
            message = b"".join(fragments)
            if message_kind is not it.kind:
                reading.wrong_kind_count += 1
                continue
            try:
                if it.kind is Opcode.TEXT:
                    message.decode()
            except UnicodeDecodeError as error:
                protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            else:
                reading.messages.append(message)
    if it.is_ended:
        protocol.receive_eof()
    return reading.conclude(protocol)


def read_fast(it: Conversation) -> Reading:
    """The same through `Framing`."""
    framing = make_framing(it.role, it.kind, it.size_bytes_max)
    reading = Reading()
    sizes = iter(it.chunk_sizes)
    stream = b""
    for step in [*it.steps, None]:
        if isinstance(step, RawFrame):
            stream += step.to_bytes()
            continue
        for chunk in cut(stream, sizes):
            view = memoryview(bytearray(chunk))
            reading.messages += framing.receive(view if it.is_view else chunk)
            reading.wrong_kind_count += framing.wrong_kind_count
            view[:] = b"?" * len(chunk)
        stream = b""
        if step is not None:
            step(framing.protocol)
    if it.is_ended:
        framing.protocol.receive_eof()
    return reading.conclude(framing.protocol)


def cut(stream: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    while stream:
        size = next(sizes, len(stream))
        yield stream[:size]
        stream = stream[size:]


LENGTHS = [0, 1, 2, 3, 4, 5, 7, 124, 125, 126, 127, 128, 300, 65535, 65536, 70000]
BOUNDS = [125, 126, 127, 299, 300, 65535, 65536, 2**20]

short_payloads = st.binary(max_size=12) | st.text(max_size=6).map(str.encode)
payloads = short_payloads | st.sampled_from(LENGTHS).map(b"x".__mul__)
control_payloads = st.binary(max_size=6) | st.sampled_from([b"", b"x" * 125, b"x" * 126])
close_payloads = st.one_of(
    st.sampled_from([b"", b"\x03", struct.pack("!H", 1000), struct.pack("!H", 1000) + b"bye"]),
    st.builds(
        lambda code, reason: struct.pack("!H", code) + reason,
        st.sampled_from([0, 999, 1001, 1004, 1005, 1009, 1015, 2999, 3000, 4999, 5000, 65535]),
        st.binary(max_size=4),
    ),
)


@st.composite
def raw_frames(draw: st.DrawFn, role: str, kind: Opcode) -> RawFrame:
    """Mostly plain data of the right kind, as on a real connection; the rest is everything else in RFC 6455."""
    masked = role == "server"
    match draw(st.sampled_from("ddddddofffcccpqxbrmls")):
        case "d":
            return RawFrame(kind, draw(payloads), masked=masked)
        case "o":
            return RawFrame(sum(KINDS) - kind, draw(payloads), masked=masked)
        case "f":
            return RawFrame(draw(st.sampled_from(KINDS)), draw(payloads), fin=False, masked=masked)
        case "c":
            return RawFrame(Opcode.CONT, draw(payloads), fin=draw(st.booleans()), masked=masked)
        case "p":
            return RawFrame(Opcode.PING, draw(control_payloads), masked=masked)
        case "q":
            return RawFrame(Opcode.PONG, draw(control_payloads), fin=draw(st.booleans()), masked=masked)
        case "x":
            return RawFrame(Opcode.CLOSE, draw(close_payloads), masked=masked)
        case "b":
            return RawFrame(draw(st.sampled_from([3, 7, 11, 15])), draw(short_payloads), masked=masked)
        case "r":
            return RawFrame(kind, draw(short_payloads), reserved=draw(st.integers(1, 7)), masked=masked)
        case "m":
            opcode = draw(st.sampled_from([*KINDS, Opcode.PING, Opcode.CLOSE]))
            return RawFrame(opcode, draw(payloads), masked=not masked)
        case "l":
            size = draw(st.sampled_from([2, 8]))
            return RawFrame(kind, draw(short_payloads), length_size=size, masked=masked)
        case _:
            length = draw(st.sampled_from([2**20 + 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]))
            return RawFrame(kind, draw(short_payloads), declared_length=length, masked=masked)


def text_frame(payload: bytes) -> RawFrame:
    return RawFrame(Opcode.TEXT, payload)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    role = draw(st.sampled_from(ROLES))
    kind = draw(st.sampled_from(KINDS))
    step = raw_frames(role, kind)
    local = st.sampled_from([local_close, local_ping])
    steps = draw(st.lists(st.one_of(step, step, step, step, step, local), max_size=12))
    chunk_sizes = draw(
        st.lists(st.sampled_from([1, 1, 2, 3, 5, 6, 7, 11, 130, 5000, 20_000, 65540]), max_size=40)
    )
    bound = draw(st.sampled_from(BOUNDS))
    flag = st.booleans()
    return Conversation(role, kind, bound, tuple(steps), draw(flag), tuple(chunk_sizes), draw(flag))


@pytest.mark.uncovered
@given(conversations())
@example(Conversation("server", Opcode.TEXT, 125, (text_frame("é".encode()),), True, (7, 1, 1), False))
@example(
    Conversation("server", Opcode.TEXT, 125, (text_frame(b"\xff"), text_frame(b"late")), False, (7, 10), True)
)
@example(
    Conversation(
        "server",
        Opcode.TEXT,
        300,
        (RawFrame(Opcode.TEXT, b"x" * 300, fin=False), RawFrame(Opcode.PONG, b"!")),
        False,
        (),
        False,
    )
)
@settings(max_examples=400)
def test_the_short_path_reads_what_the_protocol_object_reads(it: Conversation) -> None:
    assert read_fast(it) == read_plainly(it)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(1, 5), st.lists(payloads, max_size=4), st.booleans())
@settings(max_examples=25)
def test_an_unfinished_frame_delivers_nothing_and_loses_nothing(
    role: str, kind: Opcode, missing_size: int, before: list[bytes], is_ended: bool
) -> None:
    masked = role == "server"
    whole = [RawFrame(kind, payload.hex().encode(), masked=masked) for payload in before]
    last = RawFrame(kind, b"to be continued", masked=masked)
    framing = make_framing(role, kind)
    stream = b"".join(frame.to_bytes() for frame in [*whole, last])

    assert framing.receive(stream[:-missing_size]) == [frame.payload for frame in whole]

    if is_ended:
        framing.protocol.receive_eof()
        assert framing.protocol.state is not State.OPEN
        assert framing.protocol.close_sent is None
    else:
        assert framing.receive(stream[-missing_size:]) == [last.payload]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(payloads, max_size=5))
@settings(max_examples=25)
def test_the_other_role_reads_what_one_has_framed(role: str, kind: Opcode, messages: list[bytes]) -> None:
    framing = make_framing(role, kind)
    other = make_protocol("client" if role == "server" else "server")
    for message in messages:
        other.receive_data(b"".join(framing.frame(message)))
    assert other.parser_exc is None
    received = [event for event in other.events_received() if isinstance(event, Frame)]
    assert [(frame.opcode, bytes(frame.data), frame.fin) for frame in received] == [
        (kind, message, True) for message in messages
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_ready_made_headers_of_a_server_match_those_that_it_would_make(kind: Opcode) -> None:
    framing = make_framing("server", kind)
    assert len(framing.headers) > 126
    for size, header in enumerate(framing.headers):
        assert framing.frame(b"x" * size) == (header, b"x" * size)
    assert make_framing("client", kind).headers == ()  # each of its frames has a different key


def test_a_client_masks_each_frame_with_a_new_key() -> None:
    framing = make_framing("client", Opcode.BINARY)
    keys = {framing.frame(b"")[0][-4:] for _ in range(5000)}
    assert len(keys) > 4990  # of 5000 random keys out of 2**32, two are hardly ever equal


def test_a_message_of_the_other_kind_is_counted_and_the_next_one_is_read() -> None:
    framing = make_framing("server", Opcode.TEXT)
    messages = framing.receive(frames.binary(b"\x80") + frames.text(b"one") + frames.binary(b""))
    assert messages == [b"one"]
    assert framing.wrong_kind_count == 2
    assert framing.receive(frames.text(b"two")) == [b"two"]
    assert framing.wrong_kind_count == 0


@pytest.mark.parametrize("role", ROLES)
def test_the_size_bound_holds_on_both_paths(role: str) -> None:
    masked = role == "server"
    for is_fragmented in (False, True):
        for size in (300, 301):
            framing = make_framing(role, Opcode.BINARY, 300)
            if is_fragmented:
                stream = frames.binary(b"x" * 200, fin=False, masked=masked)
                stream += frames.continuation(b"x" * (size - 200), masked=masked)
            else:
                stream = frames.binary(b"x" * size, masked=masked)
            messages = framing.receive(stream)
            close = framing.protocol.close_sent
            if size == 300:
                assert messages == [b"x" * 300]
                assert close is None
            else:
                assert messages == []
                assert close is not None
                assert close.code == CloseCode.MESSAGE_TOO_BIG


def test_an_oversized_frame_is_refused_by_its_header_alone() -> None:
    framing = make_framing("server", Opcode.TEXT, 1000)
    framing.receive(frames.text(b"x" * 1001)[:4])
    close = framing.protocol.close_sent
    assert close is not None
    assert close.code == CloseCode.MESSAGE_TOO_BIG


def traced_growth_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        after, _ = tracemalloc.get_traced_memory()
        return after - before
    finally:
        tracemalloc.stop()


@pytest.mark.uncovered
def test_a_frame_that_drips_in_costs_no_more_than_its_size() -> None:
    framing = make_framing("server", Opcode.BINARY)
    stream = frames.binary(bytes(range(256)) * 256)
    pairs = [stream[i : i + 2] for i in range(0, len(stream) - 2, 2)]

    def drip() -> None:
        while pairs:
            assert framing.receive(pairs.pop()) == []

    pairs.reverse()
    assert traced_growth_bytes(drip) < 2 * len(stream)
    assert framing.receive(stream[-2:]) == [bytes(range(256)) * 256]


def whole_and_pieces(role: str, payload: bytes, piece_size: int) -> list[bytes]:
    stream = RawFrame(Opcode.TEXT, payload, masked=role == "server").to_bytes() + frames.text(
        b"next", masked=role == "server"
    )
    return [stream[start : start + piece_size] for start in range(0, len(stream), piece_size)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("piece_size", [997, LARGE_SIZE_BYTES // LARGE_PARTS_COUNT, 30_000])
def test_a_large_text_is_assembled_and_what_follows_is_read(role: str, piece_size: int) -> None:
    payload = ("é" * 40_000).encode()
    framing = make_framing(role, Opcode.TEXT)
    messages = [
        message for piece in whole_and_pieces(role, payload, piece_size) for message in framing.receive(piece)
    ]
    assert messages == [payload, b"next"]


@pytest.mark.parametrize("role", ROLES)
def test_a_large_text_that_is_not_utf_8_fails_the_connection(role: str) -> None:
    framing = make_framing(role, Opcode.TEXT)
    pieces = whole_and_pieces(role, b"\xff" * 80_000, 30_000)
    assert [message for piece in pieces for message in framing.receive(piece)] == []
    close = framing.protocol.close_sent
    assert close is not None
    assert close.code == CloseCode.INVALID_DATA


def test_a_large_frame_gets_memory_once_a_part_of_it_has_arrived() -> None:
    framing = make_framing("server", Opcode.BINARY)
    stream = frames.binary(bytes(2**20))
    part_size = len(stream) // LARGE_PARTS_COUNT

    assert traced_growth_bytes(lambda: framing.receive(stream[: part_size - 1])) < 2**18
    assert traced_growth_bytes(lambda: framing.receive(stream[part_size - 1 : part_size])) < 2**20 + 2**18
    assert framing.receive(stream[part_size:]) == [bytes(2**20)]


@pytest.mark.parametrize("extra_count", [0, 1])
def test_fragments_without_end_cost_no_more_than_their_payload_and_are_bounded(extra_count: int) -> None:
    framing = make_framing("server", Opcode.BINARY, 64 * 1024)
    framing.receive(frames.binary(b"", fin=False))
    count_max = framing.message_size_bytes_max // FRAGMENT_SIZE_BYTES_MIN
    empty = frames.continuation(b"", fin=False) * (count_max - 2 + extra_count)

    assert traced_growth_bytes(lambda: framing.receive(empty)) < 50_000
    if extra_count:
        assert framing.receive(frames.continuation(b"end")) == []
        assert framing.protocol.close_sent is not None
        assert framing.protocol.close_sent.code == CloseCode.MESSAGE_TOO_BIG
        assert f"over {count_max} fragments" in framing.protocol.close_sent.reason
    else:
        assert framing.receive(frames.continuation(b"end")) == [b"end"]
        framing.receive(frames.binary(b"", fin=False))  # a new message, a new count
        assert framing.receive(empty[: len(empty) // 2] + frames.continuation(b"end")) == [b"end"]


def test_empty_pings_are_answered_each_in_order_with_all_others() -> None:
    framing = make_framing("server", Opcode.BINARY)
    sent = frames.ping() + frames.ping(b"1") + frames.ping() + frames.binary(b"m") + frames.ping()
    assert framing.receive(sent) == [b"m"]
    pong = b"\x8a\x00"
    assert b"".join(framing.protocol.data_to_send()) == pong + b"\x8a\x011" + pong + pong
    framing.receive(frames.close(1000))
    framing.protocol.data_to_send()
    framing.receive(frames.ping())
    assert framing.protocol.data_to_send() == []


@each_case(("size", "arrived_size"), [(100, 3), (100, 50), (5_000, 10), (100_000, 20), (100_000, 50_000)])
def test_what_is_missing_of_an_unfinished_frame(size: int, arrived_size: int) -> None:
    framing = make_framing("server", Opcode.BINARY)
    sent = frames.binary(bytes(size))
    framing.receive(sent[:arrived_size])
    if arrived_size >= 14:  # the head has arrived
        assert framing.missing_size == len(sent) - arrived_size
    framing.receive(sent[arrived_size : arrived_size + 40])
    assert framing.missing_size == max(0, len(sent) - arrived_size - 40)
    framing.receive(sent[arrived_size + 40 :])
    assert framing.missing_size == 0
