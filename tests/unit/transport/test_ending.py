"""How links end, on purpose or not, and that both sides get the true reason."""

import asyncio
import time
from contextlib import suppress

import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings
from websockets.frames import Close, Opcode

from tests.unit.transport import frames
from tests.unit.transport.ends import Recorder, open_link, open_port, raw_peer
from tests.unit.transport.waiting import until


@pytest.mark.parametrize(
    ("code", "as_seen"), [(1012, "1012 (service restart) restart"), (4401, "4401 restart")]
)
async def test_a_server_closes_after_what_it_has_sent(group: LinkGroup, code: int, as_seen: str) -> None:
    async with open_port(group) as port:
        recorder, link = await open_link(port.url, group)
        receiver = await port.receiver()
        receiver.link.send(b"last words")
        receiver.link.close(code, "restart")
        assert await recorder.closed() == f"closed by peer: {as_seen}"
        assert await receiver.closed() == "restart"
        assert recorder.messages == [b"last words"]
        assert link.closed


async def test_a_client_closes_after_what_it_has_sent(group: LinkGroup) -> None:
    async with open_port(group) as port:
        recorder, link = await open_link(port.url, group)
        link.send(b"last words")
        link.close()
        receiver = await port.receiver()
        assert await recorder.closed() == "closed here"
        assert await receiver.closed() == "closed by peer: 1000 (OK)"
        assert receiver.messages == [b"last words"]


async def test_the_first_reason_is_the_one_reported(group: LinkGroup) -> None:
    async with open_port(group) as port:
        recorder, link = await open_link(port.url, group)
        link.close(1000, "first")
        link.close(1000, "second")
        link.abort("third")
        assert await recorder.closed() == "first"
        link.close(1000, "fourth")
        link.abort("fifth")
        await (await port.receiver()).closed()
        assert recorder.reasons == ["first"]


async def test_a_message_sent_too_late_never_counts_as_written(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        link = await receiver.opened()
        assert link.send(b"in time") == 1
        link.close(1000, "bye")
        number = link.send(b"late")
        await peer.write(frames.ping())  # its pong is written, and must not count as the message
        seen = await peer.read_frames(3)
        assert [frame.opcode for frame in seen] == [Opcode.TEXT, Opcode.CLOSE, Opcode.PONG]
        assert number > link.written_count == 1
        peer.close()
        await receiver.closed()
        assert link.send(b"later still") > link.written_count == 1


async def test_a_reason_is_cut_to_what_a_close_frame_can_hold(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        link = await (await port.receiver()).opened()
        link.close(1008, "ü" * 200)
        (frame,) = await peer.read_frames()
        assert Close.parse(frame.data) == Close(1008, "ü" * 61)
        await peer.write(frames.close(1008))
        peer.end_writing()
        assert await port.receivers[0].closed() == "ü" * 200


@pytest.mark.parametrize("is_client", [False, True])
async def test_abort_drops_the_connection_without_a_close_frame(group: LinkGroup, is_client: bool) -> None:
    async with open_port(group) as port:
        recorder, _ = await open_link(port.url, group)
        receiver = await port.receiver()
        quitter, left = (recorder, receiver) if is_client else (receiver, recorder)
        quitter.link.abort("enough")
        assert await quitter.closed() == "enough"
        assert (await left.closed()).startswith("connection lost")


async def test_a_vanished_peer_is_detected(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        await receiver.opened()
        peer.close()
        assert (await receiver.closed()).startswith("connection lost")


async def test_a_peer_that_ends_its_stream_is_lost(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port) as peer:
        await peer.write(frames.text(b"unfinished")[:-1])
        peer.end_writing()
        assert await peer.read_all() == b""
        assert await port.receivers[0].closed() == "connection lost"
        assert port.receivers[0].messages == []


async def test_a_closing_handshake_that_is_never_finished_is_bounded(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port):
        receiver = await port.receiver()
        link = await receiver.opened()
        link.close(1000, "bye")
        link.check(time.monotonic() + LinkSettings().close_s_max - 0.5)
        await asyncio.sleep(0.02)
        assert receiver.reasons == []
        link.check(time.monotonic() + LinkSettings().close_s_max)
        assert await receiver.closed() == "bye"


async def test_a_failed_peer_that_does_not_disconnect_is_dropped(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port) as peer:
        await peer.write(frames.text(b"unmasked", masked=False))
        receiver = await port.receiver()
        link = await receiver.opened()
        await peer.read_frames()
        link.check(time.monotonic() + LinkSettings().close_s_max)
        assert (await receiver.closed()).startswith("protocol broken: 1002")


BROKEN = {
    "oversized": ([frames.binary(b"x" * 2000)], 1009, "exceeds limit of 1000 bytes"),
    "oversized in fragments": (
        [frames.binary(b"x" * 999, fin=False), frames.continuation(b"x" * 2)],
        1009,
        "exceeds limit of 1000 bytes",
    ),
    "unmasked": ([frames.binary(b"x", masked=False)], 1002, "incorrect masking"),
    "a reserved bit": ([b"\xc2\x80\x00\x00\x00\x00"], 1002, "reserved bits must be 0"),
    "a reserved opcode": ([b"\x83\x80\x00\x00\x00\x00"], 1002, "invalid opcode"),
    "a long ping": ([frames.ping(b"x" * 126)], 1002, "control frame too long"),
    "a continuation of nothing": ([frames.continuation(b"x")], 1002, "unexpected continuation frame"),
    "a second beginning": (
        [frames.binary(b"x", fin=False), frames.binary(b"x")],
        1002,
        "expected a continuation frame",
    ),
    "a close frame of one byte": ([b"\x88\x81\x00\x00\x00\x00\x00"], 1002, "close frame too short"),
    "a close inside a message": (
        [frames.binary(b"x", fin=False), frames.close(1000)],
        1002,
        "incomplete fragmented message",
    ),
    "text that is not UTF-8": ([frames.text(b"\xff")], 1007, "invalid start byte at position 0"),
    "text in fragments that is not UTF-8": (
        [frames.text(b"a", fin=False), frames.continuation(b"\xc3")],
        1007,
        "unexpected end of data at position 1",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("peer_says_goodbye", [False, True])
async def test_a_protocol_violation_closes_the_link(
    group: LinkGroup, name: str, peer_says_goodbye: bool
) -> None:
    stream, code, text = BROKEN[name]
    settings = LinkSettings(message_size_bytes_max=1000)
    async with open_port(group, settings) as port, raw_peer(port) as peer:
        receiver = await port.receiver()
        await peer.write(frames.text(b"before") + b"".join(stream) + frames.text(b"after"))
        (frame,) = await peer.read_frames()
        close = Close.parse(frame.data)
        assert (frame.opcode, close.code) == (Opcode.CLOSE, code)
        assert text in close.reason
        if peer_says_goodbye:
            await peer.write(frames.close(code))
        peer.end_writing()
        reason = await receiver.closed()
        assert reason.startswith(f"protocol broken: {code} ")
        assert text in reason
        assert receiver.messages == [b"before"]


async def test_a_client_gets_the_reason_when_it_breaks_the_protocol(group: LinkGroup) -> None:
    settings = LinkSettings(message_size_bytes_max=1000)
    async with open_port(group, settings) as port:
        recorder, link = await open_link(port.url, group, encoding=Encoding.MSGPACK)
        link.send(b"x" * 1000)
        link.send(b"x" * 1001)
        reason = await recorder.closed()
        assert reason.startswith("closed by peer: 1009 (message too big)")
        assert port.receivers[0].messages == [b"x" * 1000]


async def test_a_client_fails_a_server_that_breaks_the_protocol(group: LinkGroup) -> None:
    settings = LinkSettings(message_size_bytes_max=1000)
    async with open_port(group) as port:
        recorder, _ = await open_link(port.url, group, settings)
        receiver = await port.receiver()
        receiver.link.send(b"\xff")
        assert (await recorder.closed()).startswith("protocol broken: 1007 (invalid frame payload data)")
        assert (await receiver.closed()).startswith("closed by peer: 1007 (invalid frame payload data)")


class Defective(Recorder):
    """A receiver with a bug."""

    def messages_received(self, payloads: list[bytes]) -> None:
        raise ZeroDivisionError("a bug")


async def test_a_bug_of_the_receiver_is_logged_and_closes_only_its_own_link(
    group: LinkGroup, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_port(group, make_receiver=Defective) as port, raw_peer(port) as peer:
        await peer.write(frames.text(b"one"))
        (frame,) = await peer.read_frames()
        assert Close.parse(frame.data) == Close(1011, "internal error")
        await peer.write(frames.close(1011))
        peer.close()
        assert await port.receivers[0].closed() == "internal error"
        (record,) = caplog.records
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "a bug"


async def test_closing_in_the_middle_of_the_handshake_drops_the_connection(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port, b"GET / HT") as peer:
        await until(lambda: group.links)
        (link,) = group.links
        link.close(1001, "going")  # type: ignore[attr-defined]
        assert await port.failure() == "going"
        assert port.receivers == []
        with suppress(ConnectionResetError):
            assert await peer.read() == b""
