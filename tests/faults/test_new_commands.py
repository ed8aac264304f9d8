"""Workers that come and go, with ever new commands or with known ones, cost a broker a share of a core that is bounded,
and others nothing: neither those who call meanwhile, nor workers that come back."""

import asyncio
import logging
import re
import sys
import time
from contextlib import AsyncExitStack
from typing import Final

import pytest
from taskferry.worker import Worker

from tests.faults import joining
from tests.faults.caller import Pulse, calling
from tests.faults.ledger import assert_broker_balances
from tests.faults.starting import ROOT, start_worker, wait_for_workers
from tests.integration.peers import connected, eventually
from tests.processes import Broker, Program, Programs, wait_until

JOINS_PER_S: Final = 100
KNOWN_JOINS_PER_S: Final = 300
COMMANDS_COUNT: Final = 1000
"""Of each join: as many as one worker may serve."""
BURST_JOINS_COUNT: Final = 60
"""As many are let in at once, and a few that are due meanwhile."""
FLEET_COUNT: Final = 200
FLEET_COMMANDS_COUNT: Final = 100
"""Workers behind one address, and the commands of each, that are all back as soon as the broker is."""
WORKERS_COUNT: Final = 8
"""With as many commands each, that start when the burst is used up."""
WATCHED_S: Final = 5.0
CPU_SHARE_MAX: Final = 0.5
"""Of a core, beside a hundred calls a second. It was 0.9: as many joins as the core could do."""
P99_S_MAX: Final = 0.15
"""Of a call, while a join takes 12 ms and other programs share the machine. It was 0.3."""


def start_churner(
    programs: Programs, broker: Broker, *prefix: str, joins_per_s: int = JOINS_PER_S
) -> Program:
    arguments = (joining.PATH, broker.worker_url, str(COMMANDS_COUNT), str(joins_per_s), *prefix)
    return programs.start(*arguments, environment={"PYTHONPATH": str(ROOT)})


def attempts_of(churner: Program) -> tuple[int, int]:
    """How often it has joined so far, and how often it was refused."""
    told = re.findall(r"^(\d+) joined, (\d+) refused$", churner.stdout, re.MULTILINE)
    return (int(told[-1][0]), int(told[-1][1])) if told else (0, 0)


def is_connected(broker: Broker, name: str) -> bool:
    return name in broker.workers()


async def test_a_worker_that_joins_with_ever_new_commands_costs_others_little(
    programs: Programs, broker: Broker
) -> None:
    honest = start_worker(programs, broker.worker_url, "honest", "--concurrency", "10")
    await asyncio.to_thread(wait_for_workers, broker, "honest")
    churner = start_churner(programs, broker)
    async with calling(broker.requester_url) as caller:
        await asyncio.to_thread(
            wait_until, lambda: sum(attempts_of(churner)) > BURST_JOINS_COUNT, "its burst is used up"
        )
        joined_before, _ = attempts_of(churner)
        cpu_before_s, began_at = broker.cpu_s(), time.monotonic()
        pulse = Pulse(caller, "echo", {"message": "x"})
        await pulse.beat(WATCHED_S)
        watched_s = time.monotonic() - began_at
        cpu_share = (broker.cpu_s() - cpu_before_s) / watched_s
        joined, refused = attempts_of(churner)
        p99_s = pulse.quantile_s(0.99)
    sys.stdout.write(
        f"\n{joined} joined, {refused} refused; the broker took {cpu_share:.2f} of a core, p99 {p99_s * 1e3:.1f} ms\n"
    )
    assert cpu_share < CPU_SHARE_MAX
    assert p99_s < P99_S_MAX
    assert refused, "it was told to come back later"
    assert joined - joined_before <= 10 * (watched_s + 1) + 10, "ten thousand new commands a second"
    assert "workers of anonymous at 127.0.0.1 bring over 10000 new commands a second" in broker.stderr

    # One whose commands are known comes back meanwhile as if nothing were.
    honest.kill()
    await asyncio.to_thread(wait_until, lambda: not is_connected(broker, "honest"), "it is gone")
    again = start_worker(programs, broker.worker_url, "honest", "--concurrency", "10")
    await asyncio.to_thread(wait_until, lambda: is_connected(broker, "honest"), "it is back")
    assert "refuses" not in again.stderr
    churner.terminate()
    await asyncio.to_thread(churner.wait)
    await asyncio.to_thread(wait_for_workers, broker, "honest")
    assert_broker_balances(broker)


def worker_of(name: str) -> Worker:
    """A worker of the SDK, whose commands nobody has served yet."""
    worker = Worker(name=name)
    for number in range(COMMANDS_COUNT):
        worker.command(f"{name}-{number}")(reply)
    return worker


async def reply() -> str:
    return "done"


async def test_workers_that_come_too_soon_say_why_and_are_in_when_there_is_room(
    programs: Programs, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    workers = [worker_of(f"new-{number}") for number in range(WORKERS_COUNT)]
    churner = start_churner(programs, broker)
    await asyncio.to_thread(wait_until, lambda: attempts_of(churner)[1], "its burst is used up")
    churner.freeze()
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.serve(broker.worker_url))
        # Half a second, and what their waits add by chance.
        await eventually(lambda: caplog.text.count("connected to") == WORKERS_COUNT, "all are in")
        async with calling(broker.requester_url) as caller:
            for worker in workers:
                response = await caller.call(f"{worker.settings.name}-{COMMANDS_COUNT - 1}")
                assert response["data"] == "done"
        for worker in workers:
            worker.drain()
    refused = [
        record.getMessage() for record in caplog.records if "refuses this worker" in record.getMessage()
    ]
    reason = "workers of anonymous at 127.0.0.1 bring over 10000 new commands a second (new_commands)"
    text = f"the broker at {broker.worker_url} refuses this worker: rate_limited: data.commands: {reason}; retrying"
    assert 1 <= len(refused) <= WORKERS_COUNT, "each logs it once, however often it is refused"
    assert set(refused) == {text}


async def test_a_worker_that_joins_again_and_again_with_known_commands_costs_others_little(
    programs: Programs, broker: Broker
) -> None:
    honest = start_worker(programs, broker.worker_url, "honest", "--concurrency", "10")
    await asyncio.to_thread(wait_for_workers, broker, "honest")
    churner = start_churner(programs, broker, "known", joins_per_s=KNOWN_JOINS_PER_S)
    async with calling(broker.requester_url) as caller:
        await asyncio.to_thread(wait_until, lambda: attempts_of(churner)[1], "its burst is used up")
        joined_before, _ = attempts_of(churner)
        cpu_before_s, began_at = broker.cpu_s(), time.monotonic()
        pulse = Pulse(caller, "echo", {"message": "x"})
        await pulse.beat(WATCHED_S)
        watched_s = time.monotonic() - began_at
        cpu_share = (broker.cpu_s() - cpu_before_s) / watched_s
        joined, refused = attempts_of(churner)
    sys.stdout.write(f"\n{joined} joined, {refused} refused; the broker took {cpu_share:.2f} of a core\n")
    assert refused, "it was told to come back later"
    assert joined - joined_before <= 25 * (watched_s + 1) + 20, "twenty-five thousand commands a second"
    assert "workers of anonymous at 127.0.0.1 join with over 25000 commands a second" in broker.stderr

    # One with few commands comes back meanwhile, at the same address.
    honest.kill()
    await asyncio.to_thread(wait_until, lambda: not is_connected(broker, "honest"), "it is gone")
    start_worker(programs, broker.worker_url, "honest", "--concurrency", "10")
    await asyncio.to_thread(wait_until, lambda: is_connected(broker, "honest"), "it is back")
    churner.terminate()
    await asyncio.to_thread(churner.wait)
    await asyncio.to_thread(wait_for_workers, broker, "honest")
    assert_broker_balances(broker)


async def test_a_large_fleet_behind_one_address_is_back_as_soon_as_its_broker(programs: Programs) -> None:
    commands = [f"c{number}" for number in range(FLEET_COMMANDS_COUNT)]
    for _ in range(2):  # the second broker is the first one, started again: it knows nothing
        broker = programs.start_broker()
        async with AsyncExitStack() as fleet:
            workers = [
                await fleet.enter_async_context(connected(broker.worker_url)) for _ in range(FLEET_COUNT)
            ]
            await asyncio.gather(*(worker.join(f"w{at}", *commands) for at, worker in enumerate(workers)))
            assert len(await asyncio.to_thread(broker.workers)) == FLEET_COUNT
