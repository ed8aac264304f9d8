"""Five thousand handshakes that are never finished: they cost little, keep nobody out, and are dropped in time."""

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults.caller import Pulse, calling
from tests.faults.ledger import assert_broker_balances
from tests.faults.raw_peer import address_of, handshake
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Broker, Programs, wait_until

COUNT = 5000
HANDSHAKE_S_MAX = 10.0
GROWTH_BYTES_MAX = COUNT * 16 * 1024
CALL_S_MAX = 1.0
"""The 99th percentile of a polite client's calls meanwhile, while five thousand connections are accepted at once. It is
a few milliseconds on a machine that has nothing else to do."""


@contextmanager
def many_open_files() -> Iterator[None]:
    """This process may hold that many connections, and a little more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < COUNT + 500:
        pytest.skip(f"this user may open {hard} files, and {COUNT + 500} are needed (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, COUNT + 500), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def refused_count(broker: Broker) -> int:
    lines = broker.get("/metrics")[1].splitlines()
    name = "taskferry_handshakes_refused_total{"
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(name) and 'reason="too_slow"' in line
    )


def open_all(stack: ExitStack, broker: Broker) -> None:
    """Half of a handshake on each of 5,000 connections, on both ports in turn; some bytes more later."""
    head = handshake()
    for number in range(COUNT):
        url = broker.requester_url if number % 2 else broker.worker_url
        connection = stack.enter_context(socket.create_connection(address_of(url)))
        connection.sendall(head[: number % (len(head) - 2)])


async def test_unfinished_handshakes_keep_nobody_out(programs: Programs, broker: Broker) -> None:
    start_worker(programs, broker.worker_url, "w", "--concurrency", "10")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    before, files_count = broker.rss_bytes(), broker.open_files_count()
    with many_open_files(), ExitStack() as stack:
        async with calling(broker.requester_url) as caller:
            began_at = time.monotonic()
            opening = asyncio.create_task(asyncio.to_thread(open_all, stack, broker))
            pulse = Pulse(caller, "echo", {"message": "x"})
            while not opening.done():
                await pulse.beat(0.2)
            await opening
            async with calling(broker.requester_url) as newcomer:  # comes in while they wait
                await Pulse(newcomer, "echo").beat(0.5)
            assert time.monotonic() - began_at < HANDSHAKE_S_MAX, "too slow to tell"
            assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
            await asyncio.to_thread(
                wait_until, lambda: refused_count(broker) == COUNT, "all are dropped", HANDSHAKE_S_MAX + 5
            )
            await pulse.beat(0.2)
            assert pulse.quantile_s(0.99) < CALL_S_MAX
    await asyncio.to_thread(
        wait_until, lambda: broker.open_files_count() <= files_count + 2, "no descriptor is left"
    )
    assert broker.stderr.count("handshake not finished in time") <= 4, "these lines fold"
    assert_broker_balances(broker)
