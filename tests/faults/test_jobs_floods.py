"""Clients that submit more than they should, or take in less, cost others little and the broker a bounded memory."""

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any, Final

from taskferry.broker.jobs.inbox import IN_FLIGHT_COUNT_MAX

from tests.faults.job_client import JobClient, job_client
from tests.faults.raw_peer import TEXT, RawPeer, frame
from tests.faults.starting import start_worker, wait_for_workers
from tests.faults.test_floods import (
    GROWTH_BYTES_MAX,
    MEDIAN_S_MAX,
    durations_s,
    polite_clients,
    quantile_s,
    start_flood,
)
from tests.integration.peers import eventually
from tests.integration.test_broker_access import TOKENS, bearer, write
from tests.processes import Broker, Programs

FLOOD_S: Final = 2.0
LISTS_S_MAX: Final = 3.0
"""For ten lists, each of which has its turn at once. All those of the other connection take several times as long."""
SUBMISSION: Final = frame(TEXT, b'{"type":"submit","command":"unserved"}')
RECEIVE_BUFFER_BYTES: Final = 4096
ENDED_COUNT: Final = 2_000


class Greedy:
    """A client that submits as fast as its socket takes it, and never reads."""

    def __init__(self, url: str) -> None:
        self.sent_count = 0
        self._peer = RawPeer(url, receive_buffer_bytes=RECEIVE_BUFFER_BYTES)
        self._peer.socket.settimeout(0.2)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._flood)
        self._thread.start()

    def _flood(self) -> None:
        while not self._is_ending.is_set():
            with contextlib.suppress(TimeoutError):
                try:
                    self._peer.socket.send(SUBMISSION * 1000)
                except OSError as error:
                    if isinstance(error, TimeoutError):
                        raise
                    return  # thrown out
                self.sent_count += 1000

    def end(self) -> None:
        self._is_ending.set()
        self._thread.join()
        self._peer.socket.close()


async def test_who_submits_without_reading_is_held_up_and_others_are_not(
    programs: Programs, broker: Broker
) -> None:
    start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    before = broker.rss_bytes()
    async with polite_clients(broker, 2) as callers, job_client(broker.requester_url) as client:
        greedy = Greedy(broker.requester_url)
        try:
            median_s = quantile_s(await durations_s(callers, FLOOD_S), 0.5)
            assert median_s < MEDIAN_S_MAX
            assert (await client.result(await client.submit("echo", {"message": "x"})))["data"] == "x"
            assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
        finally:
            greedy.end()
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]


async def test_ten_who_submit_as_fast_as_they_can_leave_others_their_turn(
    programs: Programs, broker: Broker
) -> None:
    start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    before = broker.rss_bytes()
    async with polite_clients(broker, 2) as callers, job_client(broker.requester_url) as client:
        flood = await asyncio.to_thread(start_flood, programs, broker.requester_url, "submissions", 10)
        assert quantile_s(await durations_s(callers, FLOOD_S), 0.5) < MEDIAN_S_MAX
        assert (await client.result(await client.submit("echo", {"message": "x"})))["data"] == "x"
        flood.kill()
        flood.wait()
        assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]


async def test_who_asks_for_thousands_of_lists_leaves_others_their_turn(broker: Broker) -> None:
    question = frame(TEXT, b'{"type":"list","filter":{"command":"none"}}')
    async with job_client(broker.requester_url) as client:
        await client.submit_all("unserved", 5_000)
        with RawPeer(broker.requester_url) as greedy:
            await asyncio.to_thread(greedy.send, question * 9_000)
            started = time.monotonic()
            for _ in range(10):
                await client.views(states=["dead"])
                await client.submit("unserved")
            assert time.monotonic() - started < LISTS_S_MAX
        await client.views(states=["dead"])


async def test_who_fills_the_bound_of_its_account_does_not_keep_another_from_submitting(
    programs: Programs, tmp_path: Path
) -> None:
    access = tmp_path / "access.toml"
    write(access, alice='call = ["*"]\njobs = "own"', bob='call = ["*"]')
    broker = programs.start_broker("--access", str(access), "--account-open-count-max", "500")
    async with (
        job_client(broker.requester_url, additional_headers=bearer("alice")) as alice,
        job_client(broker.requester_url, additional_headers=bearer("bob")) as bob,
    ):
        await alice.submit_all("unserved", 500)
        refusal = await alice.ask("submit", command="unserved")
        assert refusal["code"] == "overloaded", refusal
        await bob.submit_all("unserved", 500)
        refusal = await bob.ask("submit", command="unserved")
        assert refusal["code"] == "overloaded", refusal
        changed = await alice.ask("cancel", filter={})
        assert changed.get("count") == 500, changed
        await alice.submit_all("unserved", 500)
    assert all(token not in broker.stderr for token in TOKENS.values())


async def test_a_quick_connection_gets_the_whole_inbox_and_a_slow_one_of_the_same_client_is_told_what_it_missed(
    programs: Programs, broker: Broker
) -> None:
    start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    slow = RawPeer(broker.requester_url, receive_buffer_bytes=RECEIVE_BUFFER_BYTES)
    slow.send(frame(TEXT, b'{"type":"hello","request_id":"h","client_id":"c"}'))
    assert received(slow)["type"] == "hello"
    before = broker.rss_bytes()
    async with job_client(broker.requester_url) as client:
        assert (await client.ask("hello", client_id="c"))["client_id"] == "c"
        acknowledging = asyncio.create_task(acknowledge(client))
        await client.submit_all("echo", ENDED_COUNT, {"message": "x"})
        await eventually(lambda: len(client.steps) >= ENDED_COUNT, "the quick client gets all")
        assert [step["number"] for step in client.steps] == list(range(1, ENDED_COUNT + 1))
        assert all("dropped" not in step for step in client.steps)
        await acknowledging
        assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
        for number in range(1, IN_FLIGHT_COUNT_MAX + 1):
            assert (await asyncio.to_thread(received, slow))["number"] == number
        slow.send(frame(TEXT, b'{"type":"ack","number":%d}' % IN_FLIGHT_COUNT_MAX))
        await client.submit("echo", {"message": "x"})
        told = await asyncio.to_thread(received, slow)
        assert (told["number"], told["dropped"]) == (ENDED_COUNT + 1, ENDED_COUNT - IN_FLIGHT_COUNT_MAX)
    slow.socket.close()
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]


async def acknowledge(client: JobClient) -> None:
    """Acknowledge what has come, until that is all."""
    number = 0
    while number < ENDED_COUNT:
        await asyncio.sleep(0.01)
        number = len(client.steps)
        await client.connection.send(json.dumps({"type": "ack", "number": number}))


def received(peer: RawPeer) -> Any:
    """The next message."""
    return json.loads(peer.receive().payload)
