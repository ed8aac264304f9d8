"""A minute of everything that a broker must handle, and more seeds and walks than in ordinary tests: `make soak`."""

import asyncio
import itertools
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from tests.processes import Broker, Program, Programs, programs_in
from tests.sim.simulation import Simulation
from tests.soak.traffic import Account, Client
from tests.unit.broker.core.machine import CoreMachine

PLAIN_WORKER = str(Path(__file__).parents[1] / "integration" / "plain_worker.py")
MIXED_S = 60.0
WARM_S = 20.0
RSS_GROWTH_BYTES_MAX = 8 * 1024 * 1024
"""From the end of the warm-up to the end of the traffic, and again once all clients have left: what one burst of the
largest messages may leave behind in an allocator. A leak of a hundred bytes per request would be far more."""

TestMoreWalksOnTheCore = CoreMachine.TestCase
TestMoreWalksOnTheCore.settings = settings(max_examples=600, stateful_step_count=60, database=None)


def report(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


def test_thousands_of_seeds() -> None:
    first = random.randrange(10**9)
    for seed in range(first, first + 2500):
        Simulation(seed).run()


def start_worker(programs: Programs, broker: Broker, name: str, concurrency: int = 50) -> Program:
    worker = programs.start(PLAIN_WORKER, broker.worker_url, name, str(concurrency))
    worker.wait_for_stdout("joined")
    return worker


async def test_mixed_good_and_bad_traffic_leaves_memory_flat_and_every_request_accounted_for(
    tmp_path: Path,
) -> None:
    with programs_in(tmp_path) as programs:
        broker = programs.start_broker()
        for number in range(3):
            start_worker(programs, broker, f"w{number}")
        account, ended = Account(), asyncio.Event()
        clients = [
            Client(
                number,
                broker.requester_url,
                account,
                is_bad=number % 2 == 0,
                in_flight_count=2,
                keeps_ids=False,
            )
            for number in range(200)
        ]
        running = asyncio.gather(*(client.run(ended) for client in clients))
        started_at = time.monotonic()
        sizes: list[tuple[float, int]] = []
        while (elapsed_s := time.monotonic() - started_at) < MIXED_S:
            await asyncio.wait({running}, timeout=1.0)
            assert not running.done(), running.exception()
            sizes.append((elapsed_s, broker.rss_bytes()))
        ended.set()
        await running
        # The lowest of ten seconds: the peaks are messages in transit.
        warm = min(size for at_s, size in sizes if WARM_S / 2 <= at_s <= WARM_S)
        end = min(size for at_s, size in sizes if at_s > MIXED_S - 10)
        await asyncio.sleep(2)
        after, status = broker.rss_bytes(), broker.status()
        report(
            f"mixed traffic: {account.sent_count} good requests, {account.errors_count} errors, "
            f"outcomes {dict(account.settled)}; broker {broker.cpu_s():.1f} s CPU; "
            f"MiB: {sizes[0][1] / 2**20:.1f} at first, {warm / 2**20:.1f} warm, {end / 2**20:.1f} at the end, "
            f"{after / 2**20:.1f} after"
        )
        assert sum(account.settled.values()) == account.sent_count
        assert account.settled["success"] > 0.8 * account.sent_count
        assert set(account.settled) <= {"success", "cancelled", "lost"}
        assert end - warm <= RSS_GROWTH_BYTES_MAX
        assert after - warm <= RSS_GROWTH_BYTES_MAX
        assert (status["in_flight_count"], status["queued_count"], status["requester_count"]) == (0, 0, 0)
        assert sum(status["outcomes"].values()) == status["submitted_count"]
        assert "Traceback" not in broker.stderr


async def disturb(programs: Programs, broker: Broker) -> Broker:
    """Everything that can happen to workers and to the broker, in turn; returns the broker that runs at the end."""
    names = (f"w{number}" for number in itertools.count())
    workers = [start_worker(programs, broker, next(names), 4) for _ in range(3)]

    async def fresh(broker: Broker) -> Program:
        return await asyncio.to_thread(start_worker, programs, broker, next(names), 4)

    urls = (broker.worker_url, broker.requester_url, broker.http_url, broker.api_url)
    ports = [url.rsplit(":", 1)[1] for url in urls]
    options = zip(("--worker-port", "--requester-port", "--http-port", "--api-port"), ports, strict=True)
    same_ports = [word for option in options for word in option]
    await asyncio.sleep(1)
    for _ in range(3):
        workers.pop(0).kill()
        workers.append(await fresh(broker))
        await asyncio.sleep(0.5)
    workers[0].freeze()
    workers[1].terminate()
    workers.append(await fresh(broker))
    await asyncio.sleep(10)
    workers[0].thaw()
    broker.freeze()
    await asyncio.sleep(1.5)
    broker.thaw()
    await asyncio.sleep(1)
    for number, end in enumerate((Program.terminate, Program.kill)):
        end(broker)
        await asyncio.to_thread(broker.wait)
        broker = await asyncio.to_thread(programs.start_broker, *same_ports)
        await fresh(broker)
        if number == 0:
            await fresh(broker)
        await asyncio.sleep(1.5)
    return broker


@pytest.mark.timeout(120)
async def test_kill_stop_and_terminate_in_the_middle_of_traffic_with_every_request_accounted_for(
    tmp_path: Path,
) -> None:
    with programs_in(tmp_path) as programs:
        broker = programs.start_broker("--grace", "2")
        account, ended = Account(), asyncio.Event()
        clients = [
            Client(number, broker.requester_url, account, is_bad=False, in_flight_count=2, keeps_ids=True)
            for number in range(10)
        ]
        disturbing = asyncio.create_task(disturb(programs, broker))
        running = asyncio.gather(*(client.run(ended) for client in clients))
        running.add_done_callback(lambda _: disturbing.cancel())  # a client has failed: raise its error
        try:
            broker = await disturbing
        finally:
            ended.set()
            await running
        runs = Counter(
            request_id
            for path in tmp_path.glob("*.stdout")
            for request_id in re.findall(r"^ran (\S+)$", path.read_text(), re.MULTILINE)
        )
        status = broker.status()
        report(
            f"kill, stop and terminate: {account.sent_count} requests, outcomes {dict(account.settled)}, "
            f"{sum(count > 1 for count in runs.values())} run more than once"
        )
        assert sum(account.settled.values()) == len(account.outcome_by_id) == account.sent_count
        assert {"success", "worker_lost", "lost"} <= set(account.settled)
        for request_id, outcome in account.outcome_by_id.items():
            is_idempotent = int(request_id.rpartition("-")[2]) % 2 == 0
            assert runs[request_id] <= (3 if is_idempotent else 1), (
                f"{request_id} ran {runs[request_id]} times"
            )
            if outcome == "success":
                assert runs[request_id] >= 1
            if outcome in {"no_available_workers", "shutting_down", "overloaded"}:
                assert runs[request_id] == 0, f"{request_id} ran, and its requester got {outcome}"
        assert (status["in_flight_count"], status["requester_count"]) == (0, 0)
        assert "Traceback" not in broker.stderr
