"""A peer that does not read costs a bounded amount of memory for a bounded time, and only itself."""

import asyncio
import time

from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings
from websockets.frames import Opcode

from tests.unit.transport import frames
from tests.unit.transport.ends import Echo, Port, RawPeer, open_port, raw_peer
from tests.unit.transport.waiting import until

CHUNK = b"x" * 65536
SIZE_MAX = 1024 * 1024


async def stall(port: Port) -> Link:
    """The link of a peer that does not read, with more written to it than the operating system takes."""
    link = await (await port.receiver()).opened()
    while True:
        link.send(CHUNK)
        await asyncio.sleep(0)
        if link.written_count < link.sent_count:
            return link


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
        fitting_count = SIZE_MAX // len(CHUNK) - (link.sent_count - link.written_count)
        for _ in range(fitting_count):
            link.send(CHUNK)
        await asyncio.sleep(0.01)
        assert not link.closed
        link.send(b"x")
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
        link.check(time.monotonic() + LinkSettings().silence_s_max - 0.5)
        assert not port.receivers[0].reasons
        link.check(time.monotonic() + LinkSettings().silence_s_max)
        assert await port.receivers[0].closed() == "slow reader: took nothing for 8 s"


async def test_a_reader_that_is_slow_but_steady_is_kept(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port) as peer:
        link = await stall(port)
        for _ in range(100):  # more than is read here
            link.send(CHUNK)
        now = time.monotonic()
        transport = link._transport
        for _ in range(3):
            before = transport.get_write_buffer_size()
            while transport.get_write_buffer_size() == before:
                await peer.read(16384)
                await asyncio.sleep(0)
            now += LinkSettings().silence_s_max - 0.5
            link.check(now)
        assert not port.receivers[0].reasons
        link.check(now + LinkSettings().silence_s_max)  # it has stopped
        assert await port.receivers[0].closed() == "slow reader: took nothing for 8 s"


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
