"""A dead peer is detected by its silence, in both roles; an idle one is not taken for dead."""

import time

import pytest
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings
from websockets.asyncio.client import connect as websockets_connect
from websockets.frames import Opcode
from websockets.utils import accept_key

from tests.unit.transport import frames
from tests.unit.transport.ends import RawPeer, open_link, open_port, raw_peer, raw_server
from tests.unit.transport.waiting import until

SETTINGS = LinkSettings()
PING_S = SETTINGS.heartbeat_interval_s
DEAD_S = SETTINGS.silence_s_max


def heard(link: Link) -> float:
    """The time at which the link records that it has received something."""
    now = time.monotonic()
    link.check(now)
    return now


async def test_a_silent_peer_is_pinged_once_and_then_dropped(still_group: LinkGroup) -> None:
    async with open_port(still_group, SETTINGS) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        link = await receiver.opened()
        start = heard(link)
        link.check(start + PING_S - 0.01)
        link.check(start + PING_S)
        link.check(start + PING_S + 0.5)
        link.send(b"next")
        ping, message = await peer.read_frames(2)
        assert (ping.opcode, message.opcode) == (Opcode.PING, Opcode.TEXT)
        link.check(start + DEAD_S - 0.01)
        assert not link.closed
        link.check(start + DEAD_S)
        assert await receiver.closed() == f"silent for {DEAD_S:g} s"


async def test_no_peer_is_dropped_without_a_ping(still_group: LinkGroup) -> None:
    async with open_port(still_group, SETTINGS) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        link = await receiver.opened()
        late = heard(link) + 10 * DEAD_S  # as if this process had been stopped for a while
        link.check(late)
        (ping,) = await peer.read_frames()
        assert ping.opcode is Opcode.PING
        link.check(late + 0.5)
        assert await receiver.closed() == f"silent for {DEAD_S:g} s"


@pytest.mark.parametrize("sign", [frames.ping(), frames.text(b"hello"), frames.text(b"half")[:-2]])
async def test_anything_received_counts_as_a_sign_of_life(still_group: LinkGroup, sign: bytes) -> None:
    async with open_port(still_group, SETTINGS) as port, raw_peer(port) as peer:
        link = await (await port.receiver()).opened()
        start = heard(link)
        link.check(start + PING_S)
        count = link.counts.received_bytes_count
        await peer.write(sign)
        await until(lambda: link.counts.received_bytes_count > count)
        link.check(start + DEAD_S)
        assert not link.closed
        link.check(start + DEAD_S + PING_S)
        pings = [
            frame
            for frame in await peer.read_frames(2 + (sign == frames.ping()))
            if frame.opcode == Opcode.PING
        ]
        assert len(pings) == 2
        link.abort("test over")


async def test_a_client_detects_a_silent_server(still_group: LinkGroup) -> None:
    async def say_nothing(peer: RawPeer) -> None:
        head = await peer.read_head()
        key = next(line.split(": ")[1] for line in head.splitlines() if line.startswith("Sec-WebSocket-Key"))
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        await peer.write("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept_key(key)}", "", ""]).encode())
        while await peer.read():
            pass

    async with raw_server(say_nothing) as url:
        recorder, link = await open_link(url, still_group, SETTINGS)
        start = heard(link)
        link.check(start + PING_S)
        link.check(start + DEAD_S)
        assert await recorder.closed() == f"silent for {DEAD_S:g} s"


async def test_an_idle_peer_that_answers_pings_stays_connected(still_group: LinkGroup) -> None:
    impatient = LinkSettings(heartbeat_interval_s=0.0, silence_s_max=1000.0)
    async with open_port(still_group, impatient) as port, websockets_connect(port.url):
        link = await (await port.receiver()).opened()
        for _ in range(3):
            heard(link)
            count = link.counts.received_bytes_count
            link.check(time.monotonic())
            await until(lambda count=count: link.counts.received_bytes_count > count)  # type: ignore[misc]


async def test_a_closing_link_is_not_pinged(still_group: LinkGroup) -> None:
    patient = LinkSettings(close_s_max=1000.0)
    async with open_port(still_group, patient) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        link = await receiver.opened()
        start = heard(link)
        link.close(1000, "bye")
        link.check(start + PING_S)
        peer.end_writing()
        assert await receiver.closed() == "bye"
        assert [frame.opcode for frame in await peer.read_frames(1)] == [Opcode.CLOSE]
        assert await peer.read() == b""


async def test_the_group_checks_its_links_by_itself(group: LinkGroup) -> None:
    impatient = LinkSettings(heartbeat_interval_s=0.01, silence_s_max=0.6)
    async with open_port(group, impatient) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        assert await receiver.closed() == "silent for 0.6 s"
        (ping,) = await peer.read_frames(1)
        assert ping.opcode is Opcode.PING
