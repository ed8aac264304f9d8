"""Long streams, and many that nobody reads: the broker holds a window of each, and others go on."""

from typing import Final

import pytest
from taskferry.protocol.limits import STREAM_SIZE_BYTES_MAX
from taskferry.requester import Requester

from tests.faults.caller import Pulse, calling
from tests.faults.raw_peer import TEXT, RawPeer, frame
from tests.integration.peers import eventually, serving
from tests.processes import Broker, Programs
from tests.streaming import CHUNK_SIZE_BYTES, FILL_BYTES, GROWTH_BYTES_MAX, fill, start_source

GIBIBYTE: Final = 1024 * 1024 * 1024
DEAF_COUNT: Final = 100
"""Streams that nobody reads."""
IN_BUFFERS_BYTES: Final = 16 * 1024 * 1024
"""What the system may take for a peer that does not read."""


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_gibibyte_through_a_stream_leaves_the_brokers_memory_where_it_was(
    programs: Programs, broker: Broker, encoding: str
) -> None:
    start_source(programs, broker, encoding)
    async with Requester(broker.requester_url, encoding=encoding) as requester:
        await fill(requester, broker, FILL_BYTES)  # warm
        before = broker.rss_bytes()
        most = await fill(requester, broker, GIBIBYTE)
    assert most - before < GROWTH_BYTES_MAX


async def test_streams_that_nobody_reads_cost_a_window_each_and_disturb_nobody(
    programs: Programs, broker: Broker
) -> None:
    start_source(programs, broker, "json", "--concurrency", str(DEAF_COUNT))
    count = (IN_BUFFERS_BYTES + STREAM_SIZE_BYTES_MAX) // CHUNK_SIZE_BYTES
    request = (
        b'{"command": "source", "stream": true, "timeout": 600, '
        b'"data": {"count": %d, "size": %d, "is_text": true}}' % (count, CHUNK_SIZE_BYTES)
    )
    async with (
        serving(broker.worker_url, {"echo": lambda data: data}),
        calling(broker.requester_url) as polite,
    ):
        before = broker.rss_bytes()
        with RawPeer(broker.requester_url, receive_buffer_bytes=65536) as deaf:
            deaf.send(frame(TEXT, request) * DEAF_COUNT)
            await eventually(lambda: broker.status()["in_flight_count"] == DEAF_COUNT, "all are with workers")
            await Pulse(polite, "echo", {"message": "x"}).beat(3)
            most = broker.rss_bytes()
            assert most - before < DEAF_COUNT * (STREAM_SIZE_BYTES_MAX + CHUNK_SIZE_BYTES) + GROWTH_BYTES_MAX
            assert broker.status()["in_flight_count"] == DEAF_COUNT
        await eventually(lambda: broker.status()["in_flight_count"] == 0, "what it has left ends")
        await Pulse(polite, "echo", {"message": "x"}).beat(0.2)
        polite.ledger.assert_balances()
