"""A peer that does not read costs a bounded amount of memory for a bounded time, and only itself."""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import pytest
from taskferry.transport.backlog import BATCH_SIZE_BYTES_MAX
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings
from taskferry.transport.taken import taken_size_bytes
from websockets.frames import Opcode

from tests.unit.transport import frames
from tests.unit.transport.ends import Echo, Port, RawPeer, open_port, raw_peer
from tests.unit.transport.waiting import until

CHUNK = b"x" * 65536
SIZE_MAX = 1024 * 1024
HEAD_SIZE_BYTES = 10


async def stall(port: Port) -> Link:
    """The link of a peer that does not read, with more written to it than the operating system takes."""
    link = await (await port.receiver()).opened()
    while True:
        link.send(CHUNK)
        await asyncio.sleep(0)
        if link.written_count < link.sent_count:
            return link


async def settle(link: Link) -> None:
    """Return once the peer's operating system takes nothing more for the peer."""
    size_bytes, since = -1, 0.0
    while time.monotonic() - since < 0.1:
        if size_bytes != (size_bytes := taken_size(link)):
            since = time.monotonic()
        await asyncio.sleep(0.01)


def taken_size(link: Link) -> int:
    return taken_size_bytes(link._transport.get_extra_info("socket")) or 0


async def standstill(link: Link) -> float:
    """Check the link once nothing more is taken. Returns the time."""
    await settle(link)
    now = time.monotonic()
    link.check(now)
    return now


async def drain(peer: RawPeer, count: int) -> list[int]:
    """The sizes of the next messages."""
    return [len(message) for message in await peer.read_messages(count)]


async def test_what_waits_for_a_slow_reader_is_not_reported_as_written(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        link = await stall(port)
        written_count = link.written_count
        number = link.send(b"last")
        await asyncio.sleep(0)
        assert written_count == link.written_count < number == link.sent_count
        assert await drain(peer, number) == [len(CHUNK)] * (number - 1) + [4]
        assert link.written_count == number


async def test_a_slow_reader_is_dropped_when_too_much_waits(group: LinkGroup) -> None:
    async with open_port(group, LinkSettings(unsent_size_bytes_max=SIZE_MAX)) as port, raw_peer(port):
        link = await stall(port)
        fitting_count = SIZE_MAX // (len(CHUNK) + HEAD_SIZE_BYTES) - (link.sent_count - link.written_count)
        for _ in range(fitting_count):
            link.send(CHUNK)
        await asyncio.sleep(0.01)
        assert not link.closed
        link.send(CHUNK)
        assert await port.receivers[0].closed() == f"slow reader: over {SIZE_MAX} bytes wait for it"


async def test_pongs_count_too(group: LinkGroup) -> None:
    async with open_port(group, LinkSettings(unsent_size_bytes_max=SIZE_MAX)) as port, raw_peer(port) as peer:
        await stall(port)
        pings = frames.ping(b"x" * 125) * 500
        try:
            for _ in range(100):
                await peer.write(pings)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert await port.receivers[0].closed() == f"slow reader: over {SIZE_MAX} bytes wait for it"


async def test_a_burst_to_a_peer_that_reads_may_be_larger(group: LinkGroup) -> None:
    async with open_port(group, LinkSettings(unsent_size_bytes_max=SIZE_MAX)) as port, raw_peer(port) as peer:
        link = await (await port.receiver()).opened()
        count = 2 * SIZE_MAX // len(CHUNK)
        for _ in range(count):
            link.send(CHUNK)
        assert await drain(peer, count) == [len(CHUNK)] * count


async def test_a_reader_that_has_stalled_for_long_is_dropped(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port) as peer:
        link = await stall(port)
        await peer.write(frames.text(b"I live, and yet I do not read"))
        await until(lambda: port.receivers[0].messages)
        now = await standstill(link)
        link.check(now + LinkSettings().silence_s_max - 0.5)
        assert not port.receivers[0].reasons
        link.check(now + LinkSettings().silence_s_max)
        assert await port.receivers[0].closed() == "slow reader: took nothing for 8 s"


async def read_some(link: Link, peer: RawPeer) -> None:
    """Let the peer read until its operating system takes more."""
    before = taken_size(link)
    while taken_size(link) == before:
        await peer.read(16384)
        await asyncio.sleep(0)
    await settle(link)


@pytest.mark.skipif(sys.platform != "linux", reason="needs to know what the system has")
async def test_a_reader_that_is_slow_but_steady_is_kept(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port) as peer:
        link = await stall(port)
        now = await standstill(link)
        left_size_bytes = link._transport.get_write_buffer_size()
        for _ in range(3):
            await read_some(link, peer)
            now += LinkSettings().silence_s_max - 0.5
            link.check(now)
        assert not port.receivers[0].reasons
        assert link._transport.get_write_buffer_size() == left_size_bytes, "only the system has noticed"
        link.check(now + LinkSettings().silence_s_max)  # it has stopped
        assert await port.receivers[0].closed() == "slow reader: took nothing for 8 s"


@pytest.mark.skipif(sys.platform != "linux", reason="needs to know what the system has")
async def test_a_slow_reader_is_given_time_to_reach_the_ping(still_group: LinkGroup) -> None:
    settings = LinkSettings()
    async with open_port(still_group) as port, raw_peer(port) as peer:
        link = await (await port.receiver()).opened()
        link.send(CHUNK * 4)  # the system takes all of it, the peer's only the beginning
        await asyncio.sleep(0)
        assert link.written_count == 1
        now = await standstill(link) + settings.heartbeat_interval_s
        link.check(now)
        link.check(now + 0.5)  # it is pinged
        for _ in range(2):
            await read_some(link, peer)
            now += settings.silence_s_max - 0.5
            link.check(now)
            assert not link.is_silent
        link.check(now + settings.heartbeat_interval_s)
        assert link.is_silent, "it has stopped"
        link.check(now + settings.silence_s_max)
        assert await port.receivers[0].closed() == "silent for 8 s"


async def test_a_message_that_lies_in_the_buffer_of_the_loop_was_not_written(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        link = await stall(port)
        written_count = link.written_count
        assert link._transport.get_write_buffer_size()
        for size in (4, len(CHUNK), 3 * len(CHUNK)):
            link.send(b"x" * size)
        await asyncio.sleep(0)
        link.abort("test over")
        await port.receivers[0].closed()
        assert link.written_count == written_count == link.sent_count - 4
        peer.close()


async def test_what_waits_is_written_bit_by_bit(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        link = await stall(port)
        for number in range(1000):
            link.send(b"%8d" % number * 100)
        link.close(1000, "done")
        count = link.sent_count
        counts = []
        frames_read = []
        for _ in range(count):
            frames_read += await peer.read_frames()
            counts.append(link.written_count)
            assert link._transport.get_write_buffer_size() <= BATCH_SIZE_BYTES_MAX + len(CHUNK)
        assert counts == sorted(counts)
        assert all(written >= read for read, written in enumerate(counts, 1))
        assert [bytes(frame.data)[:8] for frame in frames_read[-1000:]] == [
            b"%8d" % number for number in range(1000)
        ]
        peer.close()
        await port.receivers[0].closed()


async def test_if_too_much_waits_for_all_the_largest_and_slowest_are_dropped(still_group: LinkGroup) -> None:
    still_group.unsent_size_bytes_max = SIZE_MAX
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(open_port(still_group)) for _ in range(4)]
        peers = [await stack.enter_async_context(raw_peer(port)) for port in ports]
        links = [await stall(port) for port in ports]
        small, steady, large, growing = links
        for link in links[:3]:
            await standstill(link)
        for link, count in ((steady, 6), (large, 4)):
            for _ in range(count):
                link.send(CHUNK)
        now = time.monotonic()
        steady._taking.at = now
        small._taking.at = large._taking.at = now - 5
        assert still_group.unsent_size_bytes <= SIZE_MAX
        while still_group.unsent_size_bytes > 7 / 8 * SIZE_MAX or not large.closed:
            growing.send(b"x" * 16384)
            await asyncio.sleep(0)
        assert not any(link.closed for link in (small, steady, growing))
        reason = await ports[2].receivers[0].closed()
        assert reason.startswith(f"slow reader: over {SIZE_MAX} bytes wait for all of them, ")
        assert reason.endswith("(unsent_size_bytes_max)")
        for peer in peers:
            peer.close()
        await until(lambda: not still_group.links)
        assert still_group.unsent_size_bytes == 0


async def test_if_settings_say_so_nothing_is_read_from_a_peer_that_does_not_read(
    still_group: LinkGroup,
) -> None:
    settings = LinkSettings(reads_only_while_writable=True)
    async with open_port(still_group, settings, make_receiver=Echo) as port, raw_peer(port) as peer:
        link = await stall(port)
        received_count = link.counts.received_count
        await peer.write(frames.text(b"hello?"))
        link.check(time.monotonic())
        link.check(time.monotonic() + settings.silence_s_max - 0.5)  # nor is it pinged
        await asyncio.sleep(0.02)
        assert link.counts.received_count == received_count
        assert not link.closed
        sizes = await drain(peer, link.sent_count)
        assert sizes == [len(CHUNK)] * len(sizes)
        assert await peer.read_messages(1) == [b"hello?"]
        assert port.receivers[0].messages == [b"hello?"]


async def test_a_slow_reader_that_closes_still_gets_everything(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        link = await stall(port)
        link.send(b"last")
        await peer.write(frames.close(1000))
        count = link.sent_count
        seen = await peer.read_frames(count + 1)
        assert [frame.opcode for frame in seen] == [Opcode.TEXT] * count + [Opcode.CLOSE]
        peer.close()
        assert await port.receivers[0].closed() == "closed by peer: 1000 (OK)"


async def test_closing_on_a_slow_reader_is_bounded(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port):
        link = await stall(port)
        link.close(1001, "going")
        link.check(time.monotonic() + LinkSettings().close_s_max)
        assert await port.receivers[0].closed() == "going"


async def test_a_slow_reader_that_vanishes_is_forgotten(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        await stall(port)
        peer.close()
        assert (await port.receivers[0].closed()).startswith("connection lost")
