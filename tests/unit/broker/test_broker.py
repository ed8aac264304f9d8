"""The broker as a whole: it opens both ports or none, applies live settings, and ends in order."""

import dataclasses
import socket

import pytest
from taskferry.broker.broker import Broker
from taskferry.broker.port import PortTaken
from taskferry.broker.settings import BrokerSettings
from taskferry.protocol.encodings import Encoding
from taskferry.transport.connect import ConnectError, connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings

from tests.unit.broker.shell import Peer
from tests.unit.transport.ends import Recorder
from tests.unit.transport.waiting import until

SETTINGS = BrokerSettings(worker_port=0, requester_port=0, api_port=0)


async def open_peer(number: int, group: LinkGroup) -> Peer:
    recorder = Recorder()
    url = f"ws://127.0.0.1:{number}"
    return Peer(recorder, await connect(url, recorder, group, LinkSettings(), Encoding.JSON))


async def test_if_one_port_is_taken_neither_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        worker_port = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        broker = Broker(BrokerSettings(worker_port=worker_port, requester_port=number, api_port=0))
        with pytest.raises(PortTaken, match=f"^requester port 127.0.0.1:{number}: "):
            await broker.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", worker_port), timeout=1)


async def test_live_settings_reach_ports_core_and_read_model() -> None:
    broker, group = Broker(SETTINGS), LinkGroup()
    await broker.start()
    try:
        await open_peer(broker.requester_port, group)
        settings = dataclasses.replace(SETTINGS, connections_count_max=1, strategy="round_robin")
        broker.reconfigure(settings)
        assert broker.settings is settings
        assert (await broker.read_model.status()).strategy == "round_robin"
        with pytest.raises(ConnectError, match="over 1 connections"):
            await open_peer(broker.requester_port, group)
    finally:
        await broker.stop(0)
        await until(lambda: not group.links)
        group.close()


async def test_at_its_end_all_are_answered_and_notified_before_links_close() -> None:
    broker, group = Broker(SETTINGS), LinkGroup()
    await broker.start()
    worker, requester = (
        await open_peer(broker.worker_port, group),
        await open_peer(broker.requester_port, group),
    )
    worker.send({"type": "connect", "data": {"commands": ["work"]}})
    await worker.receive()
    requester.send({"request_id": "r1", "command": "work"})
    assert (await worker.receive())["type"] == "request"
    await broker.stop(0)
    assert (await requester.receive())["code"] == "broker_stopped"
    assert [(await worker.receive())["type"] for _ in range(2)] == ["cancel", "disconnect"]
    for peer in (worker, requester):
        assert (await peer.closed()).startswith("closed by peer: 1012")
    with pytest.raises(ConnectError):
        await open_peer(broker.worker_port, group)
    group.close()
