"""A program that has as many files open as it may (EMFILE): it refuses what is new, and serves what it has."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.faults.caller import Pulse, calling
from tests.faults.ledger import assert_broker_balances
from tests.faults.proxies import proxied
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Broker, Programs, wait_until

FILES_COUNT_MAX = 64
CLIENTS_COUNT = 100
OTHERS_P99_S_MAX = 0.1
CPU_SHARE_MAX = 0.5
"""Of one core, while it cannot accept what waits: a loop that tries again without a pause takes all of it."""
LIMITED = ("prlimit", f"--nofile={FILES_COUNT_MAX}:{FILES_COUNT_MAX}")


@contextlib.contextmanager
def many_connections(url: str) -> Iterator[list[socket.socket]]:
    """More TCP connections than the program at `url` may have files."""
    parts = urlsplit(url)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port or 0), timeout=5))
            for _ in range(CLIENTS_COUNT)
        ]


@pytest.fixture
def limited(programs: Programs) -> Broker:
    return programs.start_broker(wrapper=LIMITED)


@pytest.mark.parametrize("port", ["worker", "requester", "http"])
async def test_a_broker_without_a_free_descriptor_serves_those_that_it_has_and_accepts_again_later(
    programs: Programs, limited: Broker, port: str
) -> None:
    worker = start_worker(programs, limited.worker_url, "w")
    await asyncio.to_thread(wait_for_workers, limited, "w")
    async with calling(limited.requester_url) as caller:
        await caller.call("echo", {"message": "x"})
        files_count = limited.open_files_count()
        with many_connections(getattr(limited, f"{port}_url")):
            await asyncio.to_thread(
                wait_until,
                lambda: limited.open_files_count() >= FILES_COUNT_MAX - 1,
                "it has no descriptor left",
            )
            cpu_s, began_at = limited.cpu_s(), time.monotonic()
            pulse = Pulse(caller, "echo", {"message": "x"})
            await pulse.beat(2.0)
            assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
            assert (limited.cpu_s() - cpu_s) / (time.monotonic() - began_at) < CPU_SHARE_MAX
        await asyncio.to_thread(
            wait_until, lambda: limited.open_files_count() <= files_count + 1, "all of them are closed"
        )
        async with calling(limited.requester_url) as other:
            assert (await other.call("echo", {"message": "x"}))["success"]
    caller.ledger.assert_balances([worker])
    assert_broker_balances(limited)


@pytest.mark.parametrize("port", ["worker", "requester", "http"])
async def test_a_broker_without_a_free_descriptor_logs_it_once(limited: Broker, port: str) -> None:
    with many_connections(getattr(limited, f"{port}_url")):
        await asyncio.to_thread(limited.wait_for_stderr, "no more open files .*too many open files", 5.0)
        await asyncio.sleep(1.2)  # it looks twice more
    await asyncio.to_thread(limited.wait_for_stderr, "files can be opened again", 5.0)
    assert limited.stderr.count("no more open files") == 1
    assert "Traceback" not in limited.stderr


async def test_a_worker_without_a_free_descriptor_serves_on_and_reconnects_once_there_is_one(
    programs: Programs, broker: Broker
) -> None:
    async with proxied(broker.worker_url) as proxy:
        worker = start_worker(programs, proxy.url, "w", "--concurrency", "10", wrapper=LIMITED)
        await asyncio.to_thread(wait_for_workers, broker, "w")
        async with calling(broker.requester_url) as caller:
            assert (await caller.call("take_all_files", {"seconds": 3.0}))["success"]
            assert worker.open_files_count() == FILES_COUNT_MAX
            pulse = Pulse(caller, "echo", {"message": "x"})
            await pulse.beat(0.5)
            assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
            proxy.cut()
            await asyncio.to_thread(worker.wait_for_stderr, "(?i)too many open files")
            await asyncio.to_thread(wait_for_workers, broker)
            await asyncio.to_thread(wait_for_workers, broker, "w")
            assert (await caller.call("echo", {"message": "x"}))["success"]
        assert "Traceback" not in worker.stderr
        caller.ledger.assert_balances([worker])
        assert_broker_balances(broker)
