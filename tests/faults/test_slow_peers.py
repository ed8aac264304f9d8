"""A peer that does not read costs bounded memory, is dropped with a reason, and takes nobody else's answers with it."""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from tests.faults.caller import Pulse, calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.raw_peer import TEXT, RawPeer, frame
from tests.integration.peers import eventually, serving
from tests.processes import Broker, Programs

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


# --- many of them ---

ALL_UNSENT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
ALL_GROWTH_BYTES_MAX: Final = ALL_UNSENT_SIZE_BYTES_MAX + 96 * 1024 * 1024
"""The bound, what a turn of the loop adds before it is looked at, and what is on its way through."""
LEFT_BYTES_MAX: Final = 48 * 1024 * 1024
"""More than before, once all of them have gone."""
DEAF_COUNT: Final = 40
EACH_COUNT: Final = 20


def broker_with_a_bound(programs: Programs) -> Broker:
    return programs.start_broker("--unsent-size-bytes-max", str(ALL_UNSENT_SIZE_BYTES_MAX))


@contextmanager
def deaf_peers(url: str, message: bytes, count: int) -> Iterator[list[RawPeer]]:
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(url, receive_buffer_bytes=65536)) for _ in range(DEAF_COUNT)]
        for number, peer in enumerate(peers):
            peer.send(frame(TEXT, message.replace(b"NUMBER", b"%d" % number)) * count)
        yield peers


async def test_many_requesters_that_read_nothing_cost_no_more_than_the_bound_for_all(
    programs: Programs,
) -> None:
    broker = broker_with_a_bound(programs)
    before = broker.rss_bytes()
    handlers = {"large": lambda _: LARGE, "echo": lambda data: data}
    async with serving(broker.worker_url, handlers), calling(broker.requester_url) as polite:
        with deaf_peers(broker.requester_url, b'{"command": "large"}', EACH_COUNT):
            await Pulse(polite, "echo", {"message": "x"}).beat(1)
            await eventually(lambda: "(unsent_size_bytes_max)" in broker.stderr, "some are dropped")
            await eventually(lambda: broker.status()["in_flight_count"] == 0, "all have ended")
            assert broker.rss_bytes() - before < ALL_GROWTH_BYTES_MAX
        await Pulse(polite, "echo", {"message": "x"}).beat(0.2)
        polite.ledger.assert_balances()
        await eventually(lambda: broker.rss_bytes() - before < LEFT_BYTES_MAX, "memory is given back")
    assert_broker_balances(broker)


async def test_many_workers_that_read_nothing_cost_no_more_than_the_bound_for_all(programs: Programs) -> None:
    broker = broker_with_a_bound(programs)
    before = broker.rss_bytes()
    join = b'{"type":"connect","data":{"name":"deaf-NUMBER","commands":["take"],"concurrency":100}}'
    with deaf_peers(broker.worker_url, join, 1):
        await eventually(lambda: len(broker.workers()) == DEAF_COUNT, "all have joined")
        async with calling(broker.requester_url) as caller:
            futures = [
                await caller.send("take", {"x": LARGE}, timeout=60) for _ in range(DEAF_COUNT * EACH_COUNT)
            ]
            await eventually(lambda: "(unsent_size_bytes_max)" in broker.stderr, "some are dropped")
            assert broker.rss_bytes() - before < 2 * ALL_GROWTH_BYTES_MAX
            await eventually(lambda: not broker.workers(), "all are dropped")
            await ended(futures)
            caller.ledger.assert_balances()
    await eventually(lambda: broker.rss_bytes() - before < LEFT_BYTES_MAX, "memory is given back")
    assert_broker_balances(broker)


# --- workers that read, and do not answer ---

ASSIGNED_COUNT: Final = 300
KEPT_GROWTH_BYTES_MAX: Final = 96 * 1024 * 1024
"""More than what is on its way through, and a third of what the workers have."""


async def take_all(broker: Broker, *, is_idempotent: bool) -> None:
    """Assign far more data than the broker may keep, to a worker that reads it and never answers."""
    before = broker.rss_bytes()
    with RawPeer(broker.worker_url) as silent:
        hello = b'{"type":"connect","data":{"name":"silent","commands":["take"],"concurrency":1000}}'
        silent.send(frame(TEXT, hello))
        reading = asyncio.create_task(asyncio.to_thread(read_all, silent))
        await eventually(lambda: "silent" in broker.workers(), "it has joined")
        async with calling(broker.requester_url) as caller:
            futures = [
                await caller.send("take", {"x": LARGE}, timeout=60, idempotent=is_idempotent)
                for _ in range(ASSIGNED_COUNT)
            ]
            await eventually(lambda: broker.status()["in_flight_count"] == ASSIGNED_COUNT, "it has all")
            bound = ALL_UNSENT_SIZE_BYTES_MAX if is_idempotent else 0
            await eventually(lambda: assigned_size(broker) <= bound, "what is not needed is released")
            assert (assigned_size(broker) > bound / 2) == is_idempotent
            assert broker.rss_bytes() - before < bound + KEPT_GROWTH_BYTES_MAX
            silent.socket.shutdown(socket.SHUT_RDWR)
            await reading
            responses = await ended(futures)
            assert {response["code"] for response in responses} == {"worker_lost"}
            caller.ledger.assert_balances()
    await eventually(lambda: assigned_size(broker) == 0, "nothing is kept")
    assert_broker_balances(broker)


def read_all(peer: RawPeer) -> None:
    with suppress(OSError):
        while peer.socket.recv(1024 * 1024):
            pass


def assigned_size(broker: Broker) -> float:
    found = re.search(r"^taskferry_assigned_size_bytes (\S+)$", broker.get("/metrics")[1], re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_data_that_a_worker_has_and_that_nobody_needs_again_is_released(broker: Broker) -> None:
    await take_all(broker, is_idempotent=False)


async def test_data_that_may_be_needed_again_is_kept_within_its_bound(programs: Programs) -> None:
    broker = programs.start_broker("--assigned-size-bytes-max", str(ALL_UNSENT_SIZE_BYTES_MAX))
    await take_all(broker, is_idempotent=True)
    assert "taskferry_retries_given_up_total 0" not in broker.get("/metrics")[1]


# --- slow, but steady ---

SYSTEM_SIZE_BYTES_MAX: Final = 10_000_000
"""What the operating system holds of one connection, at both ends: 4 MB where it sends, 6 MB where it receives."""
SLOW_S: Final = 11.0
"""Longer than a worker may be silent."""


def read_steadily(peer: RawPeer, bytes_per_s: int, seconds: float) -> bytes:
    """What arrives while the peer reads as slowly as that. Raises ConnectionError at the end of the connection."""
    began_at = time.monotonic()
    received = b""
    while (passed_s := time.monotonic() - began_at) < seconds:
        data = peer.socket.recv(max(1, int(passed_s * bytes_per_s) - len(received)))
        if not data:
            raise ConnectionError(f"ended after {len(received)} bytes")
        received += data
        time.sleep(0.05)  # its pace
    return received


async def test_a_worker_that_reads_slowly_but_steadily_is_kept(broker: Broker) -> None:
    count, size = 40, 200_000
    with RawPeer(broker.worker_url) as slow:
        slow.send(
            frame(TEXT, b'{"type":"connect","data":{"name":"slow","commands":["take"],"concurrency":100}}')
        )
        await asyncio.to_thread(slow.receive)
        async with calling(broker.requester_url) as caller:
            futures = [await caller.send("take", {"x": "x" * size}, timeout=60) for _ in range(count)]
            read = await asyncio.to_thread(read_steadily, slow, 150_000, SLOW_S)
            assert broker.workers()["slow"]["state"] == "healthy"
            assert "slow" not in broker.stderr.partition("joined")[2]
            while len(read) < count * size:
                read += await asyncio.to_thread(slow.socket.recv, 1024 * 1024)
            assert not any(future.done() for future in futures)
    assert_broker_balances(broker)


async def test_a_requester_that_reads_slowly_but_steadily_gets_all_of_much(broker: Broker) -> None:
    count = 60
    handlers = {"large": lambda _: LARGE}
    async with serving(broker.worker_url, handlers):
        with RawPeer(broker.requester_url) as slow:
            slow.send(frame(TEXT, b'{"command": "large"}') * count)
            read = await asyncio.to_thread(read_steadily, slow, 1_000_000, SLOW_S)
            size = len(read)
            while size < count * len(LARGE):
                size += len(await asyncio.to_thread(slow.socket.recv, 1024 * 1024))
    assert "slow reader" not in broker.stderr
    assert_broker_balances(broker)


async def test_what_has_not_left_the_broker_is_run_by_another_worker(broker: Broker) -> None:
    count, size = 300, 100_000
    handled_count = 0

    def take(_: object) -> None:
        nonlocal handled_count
        handled_count += 1

    with RawPeer(broker.worker_url, receive_buffer_bytes=65536) as deaf:
        deaf.send(
            frame(TEXT, b'{"type":"connect","data":{"name":"deaf","commands":["take"],"concurrency":1000}}')
        )
        await asyncio.to_thread(deaf.receive)
        async with calling(broker.requester_url) as caller:
            futures = [await caller.send("take", {"x": "x" * size}, timeout=60) for _ in range(count)]
            await eventually(lambda: broker.status()["in_flight_count"] == count, "all are assigned")
            read = 0
            while read < 5_000_000:  # the broker writes on as its system takes more
                read += len(await asyncio.to_thread(deaf.socket.recv, 65536))
            async with serving(broker.worker_url, {"take": take}, name="other"):
                await eventually(lambda: "other" in broker.workers(), "the other has joined")
                deaf.socket.close()
                responses = await ended(futures)
            lost_count = sum(
                response["code"] == "worker_lost" for response in responses if "code" in response
            )
            assert handled_count == count - lost_count
            assert lost_count * size < read + SYSTEM_SIZE_BYTES_MAX
            caller.ledger.assert_balances()
    assert_broker_balances(broker)
