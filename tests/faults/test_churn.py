"""Everything comes and goes without a pause: requesters, workers, connections that are nothing, good requests and bad.
Afterwards the programs hold what they held before. CHURN_S is how long, in seconds; `make soak` takes ten minutes."""

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.faults import counted_broker
from tests.faults.caller import calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.requesting import read_calls
from tests.faults.starting import start_requester, wait_for_workers
from tests.integration.peers import connected
from tests.processes import Broker, Program, Programs, wait_until
from tests.soak.traffic import Account, Client

CHURN_S: Final = float(os.environ.get("CHURN_S", "25"))
WARM_S: Final = 10.0
GROWTH_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
"""What one burst of large messages may leave behind in an allocator. A hundred bytes for each request would be more."""
OBJECTS_GROWTH_COUNT_MAX: Final = 2000
"""Far fewer than there are connections and requests: books of names that fill up to their bound."""
COMMANDS: Final = [f"churn-{number}" for number in range(20)]
CHURNERS_COUNT: Final = 4
"""Of each kind."""
SAMPLES_COUNT: Final = 10


class Held(NamedTuple):
    """What a program holds. Tasks, threads and objects are 0 of those that do not count them."""

    files_count: int
    rss_bytes: int
    tasks_count: int = 0
    threads_count: int = 0
    objects_count: int = 0


def held_by_broker(broker: Broker) -> Held:
    lines_count = broker.stdout.count("counted ")
    broker.send_signal(signal.SIGUSR1)
    wait_until(lambda: broker.stdout.count("counted ") > lines_count, "the broker has counted")
    tasks, threads, objects = re.findall(r"^counted (\d+) (\d+) (\d+)$", broker.stdout, re.MULTILINE)[-1]
    return Held(broker.open_files_count(), broker.rss_bytes(), int(tasks), int(threads), int(objects))


class Churn:
    """Traffic in this process, from `run` until its time is up. `outcomes`: how the requests of callers ended."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._random = random.Random(7)
        self._ended = asyncio.Event()
        self.account = Account()
        self.outcomes: Counter[str] = Counter()
        self.joins_count = 0

    async def run(self, seconds: float) -> None:
        clients = [
            Client(
                *(number, self._broker.requester_url, self.account),
                is_bad=number % 2 == 0,
                in_flight_count=2,
                keeps_ids=False,
            )
            for number in range(20)
        ]
        self._ended.clear()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(self._ended))
            for number in range(CHURNERS_COUNT):
                group.create_task(self._workers(number))
                group.create_task(self._callers())
                group.create_task(self._strangers())
            group.create_task(self._operator())
            await asyncio.sleep(seconds)
            self._ended.set()

    async def _workers(self, number: int) -> None:
        """One worker after the other, each with other commands, gone in another way."""
        while not self._ended.is_set():
            async with connected(self._broker.worker_url, self._random.choice(["json", "msgpack"])) as peer:
                name = f"churn-{number}-{self._random.randrange(20)}"
                labels = {"zone": self._random.choice("abc")}
                commands = self._random.sample(COMMANDS, 5)
                welcome = await peer.join(name, *commands, concurrency=4, labels=labels)
                if welcome["type"] != "connect":
                    assert welcome["data"]["code"] == "worker_id_taken", welcome
                    continue
                self.joins_count += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._random.uniform(0.05, 0.3)):
                        while (message := await peer.receive_or_close()) is not None:
                            # One in ten is left without an answer.
                            if message["type"] == "request" and self._random.random() < 0.9:
                                await peer.respond(message, message["data"]["params"])
                match self._random.choice(["disconnect", "close", "abort"]):
                    case "disconnect":
                        await peer.send({"type": "disconnect", "msg_id": "bye"})
                    case "abort":
                        peer.connection.transport.abort()

    async def _callers(self) -> None:
        """One connection after the other, with a few requests of each kind, half of them cut off."""
        kinds: list[dict[str, Any]] = [
            {},
            {"idempotent": True},
            {"idempotent": True, "hedge": 0.02},
            {"target": {"zone": ["a", "b"]}},
            {"affinity": "key", "priority": 9},
        ]
        while not self._ended.is_set():
            async with calling(self._broker.requester_url) as caller:
                futures = [
                    await caller.send(self._random.choice(COMMANDS), {"n": 1}, timeout=0.5, **kind)
                    for kind in kinds
                ]
                if self._random.random() < 0.5:
                    caller.connection.transport.abort()
                await ended(futures)
            assert caller.ledger.pending_count == 0
            self.outcomes.update(caller.ledger.outcomes)

    async def _strangers(self) -> None:
        """Connections that never become anything."""
        heads = [
            b"",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n",
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/1.1\r\n\r\n",
        ]
        urls = (self._broker.worker_url, self._broker.requester_url, self._broker.http_url)
        while not self._ended.is_set():
            parts = urlsplit(self._random.choice(urls))
            with suppress(OSError):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(self._random.choice(heads))
                await asyncio.sleep(self._random.uniform(0, 0.1))
                writer.transport.abort()

    async def _operator(self) -> None:
        """Scrapes, and looks at everything."""
        while not self._ended.is_set():
            for path in ("/metrics", "/api/status", "/api/workers", "/healthz", "/nowhere"):
                status, _ = await asyncio.to_thread(self._broker.get, path)
                assert status == (404 if path == "/nowhere" else 200), (path, status)
            await asyncio.sleep(0.5)


def has_at_most(program: Program, files_count: int) -> bool:
    return program.open_files_count() <= files_count


def held_at_rest(broker: Broker) -> Held:
    """What it holds once the tasks and threads of its log's timer and of the last HTTP requests have ended."""
    samples = [held_by_broker(broker) for _ in range(SAMPLES_COUNT)]
    return min(samples, key=lambda held: (held.tasks_count + held.threads_count, held.objects_count))


def holds_no_more(broker: Broker, before: Held) -> bool:
    held = held_at_rest(broker)
    return held.tasks_count <= before.tasks_count and held.threads_count <= before.threads_count


def settled(broker: Broker, *names: str, requesters_count: int) -> None:
    """Wait until all that has churned has left the broker."""
    wait_for_workers(broker, *names)
    wait_until(
        lambda: broker.status()["requester_count"] == requesters_count,
        "the requesters that churned have left",
    )


@pytest.mark.timeout(CHURN_S + 120)
async def test_after_churn_programs_hold_what_they_held_before(programs: Programs) -> None:
    broker = programs.start_broker(program=(counted_broker.PATH,))
    names = ("first", "second")
    workers = [
        programs.start("-m", "taskferry.worker", "--broker", broker.worker_url, "--name", name)
        for name in names
    ]
    await asyncio.to_thread(wait_for_workers, broker, *names)
    requester = start_requester(
        programs, broker.requester_url, "echo", {"message": "x"}, in_flight_count=4, timeout_s=20
    )
    others: list[Program] = [*workers, requester]
    churn = Churn(broker)

    async def look() -> list[Held]:
        await asyncio.to_thread(settled, broker, *names, requesters_count=1)
        rest = [Held(program.open_files_count(), program.rss_bytes()) for program in others]
        return [await asyncio.to_thread(held_at_rest, broker), *rest]

    await churn.run(WARM_S)
    before = await look()
    began_at = time.monotonic()
    await churn.run(CHURN_S)
    churned_s = time.monotonic() - began_at
    for program, one in zip((broker, *others), before, strict=True):
        files_closed = partial(has_at_most, program, one.files_count)
        await asyncio.to_thread(wait_until, files_closed, "no more descriptors are open than before")
    after = await look()
    await asyncio.to_thread(
        wait_until,
        lambda: holds_no_more(broker, before[0]),
        "no more tasks and threads are alive than before",
    )
    requester.terminate()
    await asyncio.to_thread(requester.wait)
    calls = read_calls(requester)
    sys.stdout.write(
        f"\nchurn of {churned_s:.0f} s: {churn.joins_count} workers came and went, {dict(churn.outcomes)}, "
        f"{dict(churn.account.settled)}, {len(calls)} calls of a program\nbefore {before}\nafter  {after}\n"
    )
    for one, other in zip(before, after, strict=True):
        assert other.files_count <= one.files_count
        assert other.objects_count - one.objects_count < OBJECTS_GROWTH_COUNT_MAX
        assert other.rss_bytes - one.rss_bytes < GROWTH_SIZE_BYTES_MAX
    assert sum(churn.account.settled.values()) == churn.account.sent_count
    assert set(churn.account.settled) <= {"success", "cancelled", "lost"}
    assert {call.code for call in calls.values()} == {"success"}
    assert churn.joins_count > CHURN_S
    assert {"success", "lost", "worker_lost"} <= set(churn.outcomes)
    assert_broker_balances(broker)
    assert not any("Traceback" in program.stderr for program in others)
