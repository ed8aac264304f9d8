"""Clients that submit more than they should, or take in less, cost others little and the broker a bounded memory."""

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any, Final

from tests.faults.job_client import job_client
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
SUBMISSION: Final = frame(TEXT, b'{"type":"submit","command":"unserved"}')
RECEIVE_BUFFER_BYTES: Final = 4096
ENDED_COUNT: Final = 12_000


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


async def test_a_client_that_does_not_read_its_inbox_is_told_and_costs_the_broker_no_memory(
    programs: Programs, broker: Broker
) -> None:
    start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    slow = RawPeer(broker.requester_url, receive_buffer_bytes=RECEIVE_BUFFER_BYTES)
    slow.send(frame(TEXT, b'{"type":"hello","request_id":"h","client_id":"c"}'))
    assert json.loads(slow.receive().payload)["type"] == "hello"
    before = broker.rss_bytes()
    async with job_client(broker.requester_url) as client:
        assert (await client.ask("hello", client_id="c"))["waiting"] == 0
        await client.submit_all("echo", ENDED_COUNT, {"message": "x"})
        await eventually(lambda: len(client.steps) >= ENDED_COUNT, "the quick client gets all")
        numbers = [step["number"] for step in client.steps]
        assert numbers == list(range(1, ENDED_COUNT + 1))
        await client.connection.send(json.dumps({"type": "ack", "number": ENDED_COUNT}))
        assert (await client.ask("hello", client_id="c"))["waiting"] == 0
    assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
    told = await asyncio.to_thread(drained, slow)
    assert told["dropped"] > 0 or told["lost"], told
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]


def drained(peer: RawPeer) -> dict[str, Any]:
    """What a connection was told in all that waits for it: messages that were dropped, or that it was closed."""
    told: dict[str, Any] = {"received": 0, "dropped": 0, "lost": False}
    peer.socket.settimeout(1.0)
    try:
        while True:
            found = peer.receive()
            if found.opcode != TEXT:
                told["lost"] = True
                break
            message = json.loads(found.payload)
            told["received"] += 1
            told["dropped"] += message.get("dropped", 0)
    except ConnectionError:
        told["lost"] = True
    except TimeoutError:
        pass
    peer.socket.close()
    return told
