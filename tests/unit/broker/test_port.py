"""A port lets in as many connections as it may, refuses the rest with a reason, and binds or says why it could not."""

import logging

import pytest
from taskferry.broker.events import HandshakeRefused
from taskferry.broker.port import Port, PortTaken
from taskferry.transport.admission import RefusalReason
from taskferry.transport.connect import ConnectError
from taskferry.transport.settings import LinkSettings

from tests.unit.broker.shell import open_shell
from tests.unit.transport.ends import Port as Address
from tests.unit.transport.ends import Recorder, handshake, raw_peer
from tests.unit.transport.waiting import until


async def test_connections_beyond_the_bound_are_refused_until_one_has_gone() -> None:
    async with open_shell() as shell:
        shell.requesters.connections_count_max = 2
        first, _ = await shell.requester(), await shell.requester()
        with pytest.raises(
            ConnectError, match=r"503 over 2 connections on the requester port \(connections_"
        ):
            await shell.requester()
        assert shell.requesters.counts.handshakes_refused[RefusalReason.TOO_MANY_CONNECTIONS] == 1
        await shell.worker()  # the other port has a bound of its own
        first.link.close()
        await until(lambda: len(shell.requesters.sessions) == 1)
        await shell.requester()
        shell.requesters.connections_count_max = 3
        await shell.requester()


async def test_a_connection_in_its_handshake_takes_a_place_until_another_needs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_shell() as shell:
        shell.workers.connections_count_max = 2
        address = Address(shell.workers.number)
        async with raw_peer(address, handshake()[:-2]) as older, raw_peer(address, handshake()[:-2]) as newer:
            await until(lambda: shell.workers.counts.connections_count == 2)
            await shell.worker()
            assert await older.read_all() == b""
            assert "when others needed its place" in caplog.text
            assert shell.workers.counts.handshakes_refused[RefusalReason.TOO_MANY_CONNECTIONS] == 1
            await newer.write(b"\r\n")
            assert (await newer.read_head()).startswith("HTTP/1.1 101 ")
            with pytest.raises(ConnectError, match="503"):
                await shell.worker()
            assert len(shell.workers.sessions) == 2


async def test_a_port_that_is_taken_is_named() -> None:
    async with open_shell() as shell:
        number = shell.workers.number
        other = Port("requester", lambda *_: Recorder(), LinkSettings(), 1)
        with pytest.raises(PortTaken, match=f"^requester port 127.0.0.1:{number}: already in use by another"):
            await other.open("127.0.0.1", number, shell.group)
        other.close()


async def test_refused_handshakes_are_logged_and_health_probes_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    async with open_shell() as shell:
        address = Address(shell.workers.number)
        async with raw_peer(address, b""):
            await until(lambda: shell.workers.counts.connections_count == 1)
        await until(lambda: shell.workers.counts.connections_count == 0)
        async with raw_peer(address, b"GET / HTTP/1.1\r\n\r\n") as peer:
            assert (await peer.read_all()).startswith(b"HTTP/1.1 426 ")
        await until(lambda: not shell.group.links)
        (record,) = caplog.records
        event = record.msg
        assert isinstance(event, HandshakeRefused)
        assert event.port == "worker"
        assert event.address == "127.0.0.1"
        assert event.reason == "missing Connection header"
