"""The load of events, chunks and gathers: closed loops that lose nothing, clients that count what they are sent."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX

from benchmarks.chunk_stream import Sending
from benchmarks.connection import Connection
from benchmarks.contenders import TASKFERRY, taskferry
from benchmarks.cores import split_cores
from benchmarks.event_stream import IN_FLIGHT_COUNT, EventStream
from benchmarks.load import Load
from benchmarks.payload import SMALLEST
from benchmarks.peers.events import EVENT_PEERS, EventPeer
from benchmarks.peers.nats import NatsSubscriber
from benchmarks.peers.redis import RedisSubscriber
from benchmarks.peers.servers import Missing
from benchmarks.request_stream import LoadFailed
from benchmarks.sections import events
from benchmarks.sections.section import QUICK, Round
from benchmarks.taskferry_topics import TaskferrySubscriber

LOAD = Load(SMALLEST)
TASKFERRY_EVENT = (
    b'{"type":"event","id":"a-7","timestamp":1763700000000,"data":%b,"topic":"news","offset":7}' % SMALLEST
)


def text_frame(payload: bytes) -> bytes:
    """A server's WebSocket frame of fewer than 64 KiB."""
    length = len(payload)
    head = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    return b"\x81" + head + payload


# What a server sends before any event, one message with one event, and what it may send in between.
CLIENTS: Mapping[str, tuple[Callable[[Load, EventStream], Connection], bytes, bytes, bytes]] = {
    "taskferry": (
        TaskferrySubscriber,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + text_frame(b'{"type":"subscribed","id":"1","data":{}}'),
        text_frame(TASKFERRY_EVENT),
        b"\x89\x00",
    ),
    "nats": (
        NatsSubscriber,
        b'INFO {"server_id":"X"} \r\nPONG\r\n',
        b"MSG news 1 %d\r\n%b\r\n" % (len(SMALLEST), SMALLEST),
        b"PING\r\n",
    ),
    "redis": (
        RedisSubscriber,
        b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%b\r\n" % (len(SMALLEST), SMALLEST),
        b"",
    ),
}


@pytest.mark.parametrize("name", CLIENTS)
@given(
    between=st.lists(st.booleans(), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 2_000), max_size=10),
)
def test_a_subscriber_counts_each_event_once_however_the_bytes_arrive(
    name: str, between: list[bool], cuts: list[int]
) -> None:
    make, welcome, event, other = CLIENTS[name]
    stream = EventStream(1)
    stream.await_more(len(between))
    subscriber = make(LOAD, stream)
    sent: list[bytes] = []
    subscriber.send = sent.append
    whole = welcome + b"".join((other if is_other else b"") + event for is_other in between)
    waiting, start = b"", 0
    for cut in sorted({*(cut for cut in cuts if cut < len(whole)), len(whole)}):
        waiting += whole[start:cut]
        start = cut
        waiting = waiting[subscriber.receive(bytearray(waiting), len(waiting)) :]
    stream.check()
    assert waiting == b""
    assert stream.unanswered_count == 0


@given(
    subscriber_count=st.integers(1, 5),
    event_count=st.integers(1, 400),
    arriving=st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_so_many_events_are_on_their_way_and_all_are_published(
    subscriber_count: int, event_count: int, arriving: list[int]
) -> None:
    stream = EventStream(subscriber_count)
    published: list[int] = []
    stream.publish(event_count, published.append)
    delivered_count, turn = 0, 0
    while delivered_count < event_count * subscriber_count:
        on_their_way_count = sum(published) * subscriber_count - delivered_count
        assert 0 < on_their_way_count <= IN_FLIGHT_COUNT * subscriber_count
        count = min(arriving[turn % len(arriving)], on_their_way_count)
        stream.delivered(count)
        delivered_count += count
        turn += 1
    assert sum(published) == event_count
    assert stream.unanswered_count == 0
    stream.check()
    stream.delivered(1)
    with pytest.raises(LoadFailed, match="1 events arrived that were not published"):
        stream.check()


@given(
    count=st.integers(0, 300),
    size_bytes=st.integers(1, 2 * STREAM_SIZE_BYTES_MAX),
    taking=st.lists(st.integers(1, 64), min_size=1),
)
def test_chunks_are_sent_in_order_within_the_window(count: int, size_bytes: int, taking: list[int]) -> None:
    sending = Sending(count, size_bytes)
    sent: list[int] = []
    for turn in range(count + 1):
        sent += sending.next()
        untaken_count = len(sent) - sending.taken_count
        assert untaken_count <= STREAM_CHUNKS_COUNT_MAX
        assert untaken_count <= 1 or untaken_count * size_bytes <= STREAM_SIZE_BYTES_MAX
        sending.taken_count += min(taking[turn % len(taking)], untaken_count)
    assert sent == list(range(1, count + 1))


def test_a_server_that_is_not_installed_is_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> object:
        raise Missing("carrier-pigeon is not installed")

    pigeon = EventPeer("carrier-pigeon", missing, NatsSubscriber, NatsSubscriber)  # type: ignore[arg-type]
    own = next(peer for peer in EVENT_PEERS if peer.name == TASKFERRY)
    monkeypatch.setattr(events, "EVENT_PEERS", (own, pigeon))
    notes: list[str] = []
    cases: list[Mapping[str, str | int]] = []
    a_round = Round(0, [taskferry()], split_cores(), QUICK, notes.append)
    events.SECTION.measure(a_round, lambda case, _: cases.append(case))
    assert [case["broker"] for case in cases] == [TASKFERRY] * len(events.QUICK_COUNTS)
    assert notes.count("left out: carrier-pigeon is not installed") == len(events.QUICK_COUNTS)
