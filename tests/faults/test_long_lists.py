"""A broker that knows thousands of commands, of large workers: what it shows comes in pieces, and holds up nobody."""

import asyncio
import json
import time
from contextlib import AsyncExitStack

import pytest

from tests.faults import polling
from tests.faults.caller import Caller, calling
from tests.faults.starting import start_worker
from tests.integration.peers import connected
from tests.processes import Broker, Programs, wait_until

WORKERS_COUNT = 9
COMMANDS_COUNT = 1000
LONG = "x" * 100
SIZE_BYTES_MAX = 150_000
"""Of one answer: it was 1.8 MB."""

LATE_S_MAX = 0.02
"""By how much more a request may take, in one of a hundred cases, while somebody asks all the time."""


async def announce(broker: Broker, stack: AsyncExitStack) -> None:
    """Workers that announce thousands of commands."""
    for number in range(WORKERS_COUNT):
        worker = await stack.enter_async_context(connected(broker.worker_url))
        names = [f"{LONG}-{number}-{command}" for command in range(COMMANDS_COUNT)]
        assert (await worker.join(f"large-{number}", *names))["type"] == "connect"


async def test_long_lists_come_in_pages_and_the_command_line_has_all_of_them(programs: Programs) -> None:
    broker = programs.start_broker()
    async with AsyncExitStack() as stack:
        await announce(broker, stack)
        for path in ("/api/status", "/api/commands", "/api/workers"):
            status, body = await asyncio.to_thread(broker.get, path)
            assert (status, len(body) < SIZE_BYTES_MAX) == (200, True), f"{path}: {len(body)} bytes"
        listed = programs.start("-m", "taskferry.cli", "status", "--json", "--http", broker.http_url)
        assert await asyncio.to_thread(listed.wait) == 0
        assert len(json.loads(listed.stdout)["commands"]) == WORKERS_COUNT * COMMANDS_COUNT


async def slowest_s(caller: Caller, count: int = 500) -> float:
    """The time of a request that 99 of 100 are faster than."""
    times_s = []
    for _ in range(count):
        began_at = time.perf_counter()
        assert (await caller.call("echo"))["success"]
        times_s.append(time.perf_counter() - began_at)
    return sorted(times_s)[int(count * 0.99)]


@pytest.mark.alone
async def test_asking_for_the_status_all_the_time_delays_no_request(programs: Programs) -> None:
    broker = programs.start_broker()
    worker = start_worker(programs, broker.worker_url, "w")
    async with AsyncExitStack() as stack, calling(broker.requester_url) as caller:
        await announce(broker, stack)
        await asyncio.to_thread(wait_until, lambda: "w" in broker.workers(), "the worker is connected")
        quiet_s = await slowest_s(caller)
        asking = programs.start(polling.PATH, broker.http_url, "/api/status", "/api/workers")
        await asyncio.to_thread(asking.wait_for_stdout, "10 answers")
        assert await slowest_s(caller) < quiet_s + LATE_S_MAX
    caller.ledger.assert_balances([worker])
