"""Counts of what all links of a port have carried, missed and refused, including those that have closed."""

import contextlib
import time
from http import HTTPStatus

import pytest
from taskferry.transport.admission import Refusal, RefusalReason
from taskferry.transport.counts import LinkCounts
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import SUSPICION_S
from taskferry.transport.settings import LinkSettings

from tests.unit.transport import frames
from tests.unit.transport.ends import Echo, handshake, open_link, open_port, raw_peer
from tests.unit.transport.waiting import until

PING_S = LinkSettings().heartbeat_interval_s
OVER_THE_BOUND = LinkSettings().handshake_size_bytes_max


async def test_messages_and_bytes_of_all_links_add_up(group: LinkGroup) -> None:
    counts = LinkCounts()
    async with open_port(group, make_receiver=Echo, counts=counts) as port:
        ends = [await open_link(port.url, group) for _ in range(3)]
        for number, (_, link) in enumerate(ends):
            for _ in range(number):
                link.send(b"x" * 1000)
            link.send(b"y" * 100_000)  # more than is joined into one write
        await until(lambda: all(len(recorder.messages) == n + 1 for n, (recorder, _) in enumerate(ends)))
        for recorder, link in ends:
            link.close()
            await recorder.closed()
    await until(lambda: not group.links)
    assert counts.received_count == counts.sent_count == 6
    assert counts.received_bytes_count == sum(link.counts.sent_bytes_count for _, link in ends)
    assert counts.sent_bytes_count == sum(link.counts.received_bytes_count for _, link in ends)
    assert counts.received_bytes_count > 303_000
    assert not any(counts.handshakes_refused.values())


async def test_a_message_counts_as_sent_once_it_is_handed_over(still_group: LinkGroup) -> None:
    counts = LinkCounts()
    async with open_port(still_group, counts=counts) as port:
        recorder, link = await open_link(port.url, still_group)
        receiver = await port.receiver()
        end = await receiver.opened()
        end.send(b"1")
        end.send(b"2")
        assert counts.sent_count == 0
        await until(lambda: len(recorder.messages) == 2)
        assert counts.sent_count == 2
        link.close()
        await recorder.closed()
        end.send(b"3")
        assert counts.sent_count == 2


async def test_a_missed_heartbeat_counts_once_however_often_it_is_checked(still_group: LinkGroup) -> None:
    counts = LinkCounts()
    async with open_port(still_group, counts=counts) as port, raw_peer(port) as peer:
        link = await (await port.receiver()).opened()
        start = time.monotonic()
        link.check(start)
        for late_s in (PING_S, PING_S + SUSPICION_S - 0.1):
            link.check(start + late_s)
        assert counts.heartbeats_missed_count == 0
        for late_s in (PING_S + SUSPICION_S, PING_S + SUSPICION_S + 0.5):
            link.check(start + late_s)
        assert counts.heartbeats_missed_count == 1
        await peer.write(frames.text(b"here"))
        await until(lambda: counts.received_count)
        link.check(start + PING_S + SUSPICION_S + 1)
        assert not link.is_silent
        assert counts.heartbeats_missed_count == 1


REFUSED = {
    "plain HTTP": (b"GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n", RefusalReason.BAD_REQUEST),
    "no HTTP": (b"\x16\x03\x01 hello\r\n\r\n", RefusalReason.BAD_REQUEST),
    "another method": (handshake(method="POST"), RefusalReason.BAD_REQUEST),
    "a long line": (handshake("X: " + "x" * 8192), RefusalReason.HEAD_TOO_LARGE),
    "a long path": (handshake().replace(b"GET /", b"GET /" + b"x" * 8192), RefusalReason.HEAD_TOO_LARGE),
    "many lines": (handshake(*["X: x"] * 200), RefusalReason.HEAD_TOO_LARGE),
    "a long head": (handshake("X: " + "x" * OVER_THE_BOUND), RefusalReason.HEAD_TOO_LARGE),
    "unknown sub-protocols": (handshake("Sec-WebSocket-Protocol: chat"), RefusalReason.UNKNOWN_SUBPROTOCOL),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_handshake_is_counted_once_by_its_reason(group: LinkGroup, name: str) -> None:
    request, refusal = REFUSED[name]
    counts = LinkCounts()
    async with open_port(group, counts=counts) as port, raw_peer(port, request) as peer:
        await peer.read_all()
        with contextlib.suppress(ConnectionError):
            await peer.write(b"more")
    await until(lambda: not group.links)
    assert {why: count for why, count in counts.handshakes_refused.items() if count} == {refusal: 1}


async def test_a_handshake_that_the_owner_of_the_port_refuses_is_counted_by_its_reason(
    group: LinkGroup,
) -> None:
    counts = LinkCounts()
    full = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "full", RefusalReason.TOO_MANY_CONNECTIONS)
    async with (
        open_port(group, admit=lambda _: full, counts=counts) as port,
        raw_peer(port, handshake()) as peer,
    ):
        await peer.read_all()
    await until(lambda: not group.links)
    assert {why: count for why, count in counts.handshakes_refused.items() if count} == {full.reason: 1}


async def test_connections_count_from_accept_to_their_end_or_refusal(group: LinkGroup) -> None:
    counts = LinkCounts()
    async with open_port(group, counts=counts) as port, raw_peer(port) as opened:
        async with raw_peer(port, b"GET / HTTP/1.1\r\n") as handshaking:
            await until(lambda: counts.connections_count == 2)
            handshaking.end_writing()
            await until(lambda: counts.connections_count == 1)
        async with raw_peer(port, b"GET / HTTP/1.1\r\n\r\n") as refused:
            await refused.read_all()
            assert counts.connections_count == 1, "it is still connected, but no longer counts"
        opened.end_writing()
        await until(lambda: not counts.connections_count)
    await until(lambda: not group.links)
    assert counts.connections_count == 0


async def test_a_handshake_that_is_never_finished_is_counted(still_group: LinkGroup) -> None:
    counts = LinkCounts()
    async with (
        open_port(still_group, counts=counts) as port,
        raw_peer(port, b"GET / HTTP/1.1\r\n"),
    ):
        await until(lambda: still_group.links)
        (link,) = still_group.links
        link.check(time.monotonic() + LinkSettings().handshake_s_max)
        await port.failure()
    assert counts.handshakes_refused[RefusalReason.TOO_SLOW] == 1


async def test_a_client_that_leaves_by_itself_is_not_refused(group: LinkGroup) -> None:
    counts = LinkCounts()
    async with open_port(group, counts=counts) as port, raw_peer(port, b"GET / HTTP/1.1\r\n") as peer:
        await until(lambda: group.links)
        peer.end_writing()
        await port.failure()
    assert not any(counts.handshakes_refused.values())


async def test_turns_are_reported_with_their_start_and_end() -> None:
    turns: list[tuple[float, float]] = []
    group = LinkGroup(lambda began_at, ended_at: turns.append((began_at, ended_at)))
    async with open_port(group, make_receiver=Echo) as port:
        recorder, link = await open_link(port.url, group)
        turns.clear()
        before = time.monotonic()
        link.send(b"to the port and back")
        assert turns == [], "it ends when all has been handed over"
        await until(lambda: recorder.messages)
        await until(lambda: len(turns) >= 3)  # the send, the echo, and the read of it
        assert before <= turns[0][0]
        assert all(began_at <= ended_at for began_at, ended_at in turns)
        assert [ended_at for _, ended_at in turns] == sorted(ended_at for _, ended_at in turns)
        assert turns[0][1] <= turns[1][0]
        link.close()
        await recorder.closed()
    await until(lambda: not group.links)
    group.close()


class Slow(Echo):
    def messages_received(self, payloads: list[bytes]) -> None:
        time.sleep(0.05)
        super().messages_received(payloads)


@pytest.mark.parametrize("receiver", [Echo, Slow])
async def test_a_turn_lasts_as_long_as_it_blocks_the_loop(receiver: type[Echo]) -> None:
    turns: list[float] = []
    group = LinkGroup(lambda began_at, ended_at: turns.append(ended_at - began_at))
    async with open_port(group, make_receiver=receiver) as port:
        recorder, link = await open_link(port.url, group)
        turns.clear()
        link.send(b"x")
        await until(lambda: recorder.messages)
        link.close()
        await recorder.closed()
    await until(lambda: not group.links)
    group.close()
    assert (max(turns) >= 0.05) == (receiver is Slow)
