"""Peers that say something odd at the wrong place: each gets an answer, and nobody else notices."""

import asyncio
import json

import pytest
from taskferry.protocol.limits import FAULTS_COUNT_MAX

from tests.faults.caller import Pulse, calling
from tests.faults.ledger import assert_broker_balances
from tests.faults.raw_peer import BINARY, CONT, PING, PONG, TEXT, Frame, RawPeer, answer_to, frame
from tests.integration.peers import serving
from tests.processes import Broker

BODIES = {
    "a form": (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\n", b"a=b"),
    "a body that does not come": (b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n",),
    "chunks": (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\na=b\r\n"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_sent_to_a_websocket_port_is_405(broker: Broker, name: str) -> None:
    for url in (broker.worker_url, broker.requester_url):
        answer = answer_to(url, *BODIES[name])
        assert answer.startswith(b"HTTP/1.1 405 "), answer
        assert b"\r\nAllow: GET\r\n" in answer
    assert "Traceback" not in broker.stderr


@pytest.mark.parametrize("instance", ["", None])
async def test_a_worker_without_a_token_throws_no_other_out(broker: Broker, instance: str | None) -> None:
    hello = {"name": "w", "commands": ["echo"], "instance": instance}
    async with (
        serving(broker.worker_url, {"echo": lambda data: data}, name="w", instance=instance),
        calling(broker.requester_url) as caller,
    ):
        with RawPeer(broker.worker_url) as other:
            other.send(frame(TEXT, json.dumps({"type": "connect", "data": hello}).encode()))
            answer = json.loads((await asyncio.to_thread(other.receive)).payload)
            assert answer["data"]["code"] == "worker_id_taken"
        await Pulse(caller, "echo", {"message": "x"}).beat(0.1)
    assert_broker_balances(broker)


@pytest.mark.parametrize("count", [1, 3])
def test_pings_inside_a_message_are_answered_before_it(broker: Broker, count: int) -> None:
    pings = [frame(PING, b"%d" % number) for number in range(count)]
    pieces = (b'{"type":', b'"ping","request_id"', b':"r"}')
    with RawPeer(broker.requester_url) as peer:
        first, middle, last = (
            frame(TEXT, pieces[0], first_bits=0),
            frame(CONT, pieces[1], first_bits=0),
            frame(CONT, pieces[2]),
        )
        peer.send(b"".join((first, *pings[:1], middle, *pings[1:], last)))
        assert [peer.receive() for _ in range(count)] == [
            Frame(PONG, b"%d" % number) for number in range(count)
        ]
        answer = peer.receive()
        assert (answer.opcode, json.loads(answer.payload)["request_id"]) == (TEXT, "r")


FAULTS = {
    "not JSON": frame(TEXT, b"x"),
    "the other kind": frame(BINARY, b"x"),
    "an unknown type": frame(TEXT, b'{"type":"x"}'),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("port", ["worker", "requester"])
def test_a_thousand_messages_in_a_row_that_do_not_decode_close_the_connection(
    broker: Broker, port: str, name: str
) -> None:
    good = {
        "worker": b'{"type":"connect","data":{"commands":["c"]}}',
        "requester": b'{"type":"ping","request_id":"r"}',
    }
    with RawPeer(getattr(broker, f"{port}_url")) as peer:
        for _ in range(2):
            peer.send(FAULTS[name] * (FAULTS_COUNT_MAX - 1))
            assert peer.is_alive()
            peer.send(frame(TEXT, good[port]))
            assert peer.is_alive()
        peer.send(FAULTS[name] * FAULTS_COUNT_MAX)
        assert peer.close_code() == 1008
    assert "Traceback" not in broker.stderr
