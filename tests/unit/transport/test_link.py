"""A link at work: messages in both roles, both encodings and any size, written together, counted, and in order."""

import asyncio

import pytest
from msgspec import Raw
from taskferry.protocol.encodings import Encoding
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import PARTS_SIZE_BYTES_MIN
from taskferry.transport.settings import LinkSettings
from websockets.asyncio.client import connect as websockets_connect
from websockets.typing import Subprotocol

from tests.unit.transport import frames
from tests.unit.transport.ends import Echo, handshake, open_link, open_port, raw_peer
from tests.unit.transport.waiting import until

SIZES = [0, 1, 125, 126, 2047, 2048, 65535, 65536, 2**20]


@pytest.mark.parametrize("encoding", Encoding)
async def test_messages_of_every_size_go_both_ways(group: LinkGroup, encoding: Encoding) -> None:
    async with open_port(group, make_receiver=Echo) as port:
        recorder, link = await open_link(port.url, group, encoding=encoding)
        assert link.encoding is encoding
        sent = [b"x" * size for size in SIZES]
        for message in sent:
            link.send(message)
        await until(lambda: len(recorder.messages) == len(SIZES))
        assert recorder.messages == sent
        other = port.receivers[0].link
        assert other.encoding is encoding
        assert (
            other.counts.received_count
            == other.sent_count
            == link.counts.received_count
            == link.sent_count
            == len(SIZES)
        )
        assert link.counts.received_bytes_count > sum(SIZES)
        link.close()
        await recorder.closed()


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_client_of_another_implementation_is_served(group: LinkGroup, encoding: Encoding) -> None:
    async with open_port(group, make_receiver=Echo) as port:
        names = [Subprotocol("else"), Subprotocol(encoding.subprotocol)]
        async with websockets_connect(port.url, subprotocols=names) as client:
            assert client.subprotocol == encoding.subprotocol
            is_text = encoding is Encoding.JSON
            await client.send("grüße", text=is_text)
            assert await client.recv(decode=False) == "grüße".encode()
            await client.send(iter(["in ", "three ", "parts"]), text=is_text)
            assert await client.recv(decode=False) == b"in three parts"
            await (await client.ping())
        assert await port.receivers[0].closed() == "closed by peer: 1000 (OK)"


async def test_a_client_that_names_no_subprotocol_speaks_json(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port):
        assert (await (await port.receiver()).opened()).encoding is Encoding.JSON


async def test_the_first_known_subprotocol_offered_is_used(group: LinkGroup) -> None:
    offer = handshake("Sec-WebSocket-Protocol: x, taskferry.v1.msgpack, taskferry.v1.json")
    async with open_port(group) as port, raw_peer(port, offer) as peer:
        assert "Sec-WebSocket-Protocol: taskferry.v1.msgpack\r\n" in await peer.read_head()
        assert port.receivers[0].link.encoding is Encoding.MSGPACK


async def test_messages_may_arrive_right_after_the_handshake(group: LinkGroup) -> None:
    async with open_port(group) as port:
        request = handshake() + frames.text(b"one") + frames.text(b"two")[:-1]
        async with raw_peer(port, request) as peer:
            receiver = await port.receiver()
            await until(lambda: receiver.messages == [b"one"])
            await peer.write(frames.text(b"two")[-1:])
            await until(lambda: receiver.messages == [b"one", b"two"])


async def test_a_handshake_may_arrive_byte_by_byte(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port, b"") as peer:
        request = handshake()
        for position in range(len(request)):
            await peer.write(request[position : position + 1])
        assert (await peer.read_head()).startswith("HTTP/1.1 101 ")


async def test_what_is_sent_in_one_loop_turn_is_written_once(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        link = await (await port.receiver()).opened()
        numbers = [link.send(b"%d" % i) for i in range(100)]
        assert numbers == list(range(1, 101))
        assert link.written_count == 0
        await asyncio.sleep(0)
        assert link.written_count == 100
        assert await peer.read() == b"".join(frames.text(b"%d" % i, masked=False) for i in range(100))


async def test_a_large_batch_arrives_whole(group: LinkGroup) -> None:
    async with open_port(group) as port:
        recorder, link = await open_link(port.url, group)
        messages = [bytes([65 + i % 26]) * 9000 for i in range(100)]
        for message in messages:
            link.send(message)
        receiver = await port.receiver()
        await until(lambda: len(receiver.messages) == 100)
        assert receiver.messages == messages
        link.close()
        await recorder.closed()


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_message_in_parts_is_one_message(group: LinkGroup, encoding: Encoding) -> None:
    async with open_port(group) as port:
        recorder, client = await open_link(port.url, group, encoding=encoding)
        link = await (await port.receiver()).opened()
        bodies = [b"x" * size for size in [0, 100, PARTS_SIZE_BYTES_MIN + 1, 2**19]]
        numbers = [link.send_parts(b"<", Raw(body), b">") for body in bodies]
        assert numbers == [1, 2, 3, 4]
        link.send(b"the last")
        await until(lambda: len(recorder.messages) == 5)
        assert recorder.messages == [*(b"<" + body + b">" for body in bodies), b"the last"]
        assert link.written_count == 5
        client.close()
        await recorder.closed()
        await until(lambda: link.closed)
        assert link.send_parts(b"<", Raw(b""), b">") == 6
        assert link.sent_count == 5


async def test_a_link_knows_the_address_of_its_peer(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        host, number = peer.socket.getsockname()
        assert (await (await port.receiver()).opened()).peer == f"{host}:{number}"


async def test_a_message_of_the_wrong_kind_is_reported_and_the_link_stays_open(group: LinkGroup) -> None:
    async with open_port(group, make_receiver=Echo) as port, raw_peer(port) as peer:
        await peer.write(frames.binary(b"\x80") + frames.text(b"fine") + frames.binary(b""))
        assert sorted(await peer.read_messages(3)) == [b"fine", b"wrong kind", b"wrong kind"]
        await peer.write(frames.binary(b"a", fin=False) + frames.continuation(b"b"))
        assert await peer.read_messages(1) == [b"wrong kind"]
        assert port.receivers[0].wrong_kind_count == 3
        await peer.write(frames.text(b"still here"))
        assert await peer.read_messages(1) == [b"still here"]


async def test_a_ping_amid_a_message_is_answered_before_the_message(group: LinkGroup) -> None:
    async with open_port(group, make_receiver=Echo) as port, raw_peer(port) as peer:
        parts = [frames.text(b"one", fin=False), frames.ping(b"42"), frames.continuation(b"two")]
        await peer.write(b"".join(parts))  # in one read
        pong, message = await peer.read_frames(2)
        assert (pong.opcode.name, bytes(pong.data)) == ("PONG", b"42")
        assert bytes(message.data) == b"onetwo"


async def test_what_came_before_a_close_is_answered(group: LinkGroup) -> None:
    async with open_port(group, make_receiver=Echo) as port, raw_peer(port) as peer:
        await peer.write(frames.ping(b"42") + frames.text(b"last") + frames.close(1000))  # in one read
        pong, message, close = await peer.read_frames(3)
        assert {pong.opcode.name, message.opcode.name} == {"PONG", "TEXT"}
        assert close.opcode.name == "CLOSE"


async def test_a_ping_is_answered_with_its_payload(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        await peer.write(frames.ping(b"42"))
        (pong,) = await peer.read_frames()
        assert (pong.opcode.name, bytes(pong.data)) == ("PONG", b"42")
        assert (await port.receiver()).messages == []


async def test_many_links_leave_nothing_behind(group: LinkGroup) -> None:
    async with open_port(group, LinkSettings(close_s_max=5.0), make_receiver=Echo) as port:
        for _ in range(20):
            links = await asyncio.gather(*(open_link(port.url, group) for _ in range(10)))
            assert len(group.links) >= 10
            for recorder, link in links:
                link.send(b"hello")
                await until(lambda recorder=recorder: recorder.messages)  # type: ignore[misc]
                link.close()
        await until(lambda: not group.links)
        assert all(receiver.messages == [b"hello"] for receiver in port.receivers)
        assert all(receiver.reasons == ["closed by peer: 1000 (OK)"] for receiver in port.receivers)
