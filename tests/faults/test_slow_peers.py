"""A peer that does not read costs bounded memory, is dropped with a reason, and takes nobody else's answers with it."""

import asyncio

from tests.faults.caller import Pulse, calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.raw_peer import TEXT, RawPeer, frame
from tests.integration.peers import eventually, serving
from tests.processes import Broker

UNSENT_SIZE_BYTES_MAX = 64 * 1024 * 1024
GROWTH_BYTES_MAX = UNSENT_SIZE_BYTES_MAX + 64 * 1024 * 1024
"""What may wait for it, and the results or requests of everybody that are on their way."""
LARGE = "x" * 900_000


async def test_a_requester_that_reads_nothing_is_dropped_and_no_other_is_disturbed(broker: Broker) -> None:
    handlers = {"large": lambda _: LARGE, "echo": lambda data: data}
    before = broker.rss_bytes()
    async with serving(broker.worker_url, handlers), calling(broker.requester_url) as polite:
        with RawPeer(broker.requester_url, receive_buffer_bytes=65536) as deaf:
            deaf.send(frame(TEXT, b'{"command": "large"}') * 200)
            await Pulse(polite, "echo", {"message": "x"}).beat(1)
            await eventually(lambda: "slow reader: over" in broker.stderr, "it is dropped")
            assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
        await Pulse(polite, "echo", {"message": "x"}).beat(0.2)
        await eventually(lambda: broker.status()["in_flight_count"] == 0, "what it has left ends")
        polite.ledger.assert_balances()
    assert_broker_balances(broker)


async def test_a_worker_that_reads_nothing_is_dropped_and_each_request_ends(broker: Broker) -> None:
    before = broker.rss_bytes()
    with RawPeer(broker.worker_url, receive_buffer_bytes=65536) as deaf:
        deaf.send(
            frame(TEXT, b'{"type":"connect","data":{"name":"deaf","commands":["take"],"concurrency":1000}}')
        )
        await asyncio.to_thread(deaf.receive)
        async with calling(broker.requester_url) as caller:
            futures = [await caller.send("take", {"x": LARGE}, timeout=60) for _ in range(100)]
            await eventually(lambda: "deaf" not in broker.workers(), "it is dropped")
            assert broker.rss_bytes() - before < 2 * GROWTH_BYTES_MAX
            responses = await ended(futures)
            assert {response["code"] for response in responses} <= {"worker_lost", "no_available_workers"}
            caller.ledger.assert_balances()
    assert "slow reader" in broker.stderr
    assert_broker_balances(broker)
