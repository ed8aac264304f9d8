"""A network that loses everything in silence, in both directions or in one: no end of a connection is seen.

Each case runs on a real network of two machines, if this one allows it, and behind a proxy everywhere.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from tests.faults.caller import Pulse, calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.networks import Network, two_machines, why_no_network
from tests.faults.proxies import Proxy, proxied
from tests.faults.requesting import assert_calls_balance, read_calls
from tests.faults.starting import start_requester, start_worker, wait_for_workers
from tests.processes import Broker, Programs, wait_until

NOTICED_S_MAX = 10.0
"""Within that the broker and its workers find out a silent link: after 8 s of silence, checked each half second."""
RETURN_S_MAX = 5.0
"""After the network is back: a worker's longest wait between two attempts is 3 s."""
OTHERS_P99_S_MAX = 0.1


class Far(Protocol):
    """A place from which the broker is reached over a network that can fail: `url` leads there from programs that are
    started with `wrapper`."""

    url: str
    wrapper: Sequence[str]

    def lose(self, *, to_broker: bool, from_broker: bool) -> None: ...
    def heal(self) -> None: ...


class FarMachine:
    """In a network namespace."""

    def __init__(self, network: Network, url: str) -> None:
        self.url = url
        self.wrapper: Sequence[str] = network.wrapper
        self._network = network

    def lose(self, *, to_broker: bool, from_broker: bool) -> None:
        if to_broker:
            self._network.lose_from_namespace()
        if from_broker:
            self._network.lose_to_namespace()

    def heal(self) -> None:
        self._network.heal()


class BehindProxy:
    """On this machine."""

    def __init__(self, proxy: Proxy) -> None:
        self.url = proxy.url
        self.wrapper: Sequence[str] = ()
        self._proxy = proxy

    def lose(self, *, to_broker: bool, from_broker: bool) -> None:
        if to_broker:
            self._proxy.to_server.clear()
        if from_broker:
            self._proxy.to_client.clear()

    def heal(self) -> None:
        self._proxy.heal()


@asynccontextmanager
async def broker_and_far(
    kind: str, programs: Programs, port: str, *options: str
) -> AsyncIterator[tuple[Broker, Far]]:
    """A broker, and a far place from which its `port`, `worker` or `requester`, is reached."""
    if kind == "network":
        with two_machines() as network:
            broker = programs.start_broker("--host", network.host, *options)
            far: Far = FarMachine(network, getattr(broker, f"{port}_url"))
            try:
                yield broker, far
            finally:
                programs.close()  # while they can still say goodbye to each other
        return
    broker = programs.start_broker(*options)
    async with proxied(getattr(broker, f"{port}_url")) as proxy:
        far = BehindProxy(proxy)
        yield broker, far


on_both_kinds = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("network", marks=pytest.mark.skipif(bool(why_no_network()), reason=why_no_network())),
        "proxy",
    ],
)
in_each_direction = pytest.mark.parametrize(
    ("to_broker", "from_broker"),
    [(True, True), (True, False), (False, True)],
    ids=["silent", "to the broker", "from the broker"],
)


@on_both_kinds
@in_each_direction
async def test_a_worker_that_is_cut_off_is_found_out_and_comes_back(
    programs: Programs, kind: str, to_broker: bool, from_broker: bool
) -> None:
    async with broker_and_far(kind, programs, "worker", "--retries-share-max", "1") as (broker, far):
        cut_off = start_worker(programs, far.url, "far", "--concurrency", "10", wrapper=far.wrapper)
        near = start_worker(programs, broker.worker_url, "near", "--concurrency", "100")
        await asyncio.to_thread(wait_for_workers, broker, "far", "near")
        async with calling(broker.requester_url) as caller:
            futures = [
                await caller.send("nap", {"seconds": 1}, target="far", idempotent=number % 2 == 0)
                for number in range(10)
            ]
            elsewhere = [await caller.send("nap", {"seconds": 1}, idempotent=True) for _ in range(10)]
            await asyncio.to_thread(wait_until, lambda: cut_off.stdout.count("ran ") == 10, "all of them run")
            far.lose(to_broker=to_broker, from_broker=from_broker)
            lost_at = time.monotonic()
            assert all(response["success"] for response in await ended(elsewhere))
            responses = await ended(futures)
            assert time.monotonic() - lost_at < NOTICED_S_MAX
            if to_broker:
                await asyncio.to_thread(wait_for_workers, broker, "near")
                pulse = Pulse(caller, "echo", {"message": "x"})
                await pulse.beat(1.0)
                assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
            else:
                # What it answers still arrives. It hears nothing, and leaves.
                assert all(response["success"] for response in responses)
                await asyncio.to_thread(cut_off.wait_for_stderr, "retrying")
                assert time.monotonic() - lost_at < NOTICED_S_MAX
            far.heal()
            healed_at = time.monotonic()
            # Not by the broker's list: over a real network it may still have the old link then, whose end got lost too.
            await asyncio.to_thread(
                wait_until, lambda: cut_off.stderr.count("connected to") == 2, "it is back"
            )
            response = await caller.call("echo", {"message": "x"}, target="far")
            assert response["success"], response
            assert time.monotonic() - healed_at < RETURN_S_MAX + NOTICED_S_MAX
        for response in responses:
            if to_broker:
                assert not response["success"]
        caller.ledger.assert_balances([cut_off, near])
        assert_broker_balances(broker)


@on_both_kinds
@in_each_direction
async def test_each_call_of_a_requester_that_is_cut_off_ends_in_time_and_it_comes_back(
    programs: Programs, kind: str, to_broker: bool, from_broker: bool
) -> None:
    async with broker_and_far(kind, programs, "requester") as (broker, far):
        worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
        await asyncio.to_thread(wait_for_workers, broker, "w")
        timeout_s = 2.0
        requester = start_requester(
            programs,
            far.url,
            "nap",
            {"seconds": 0.1},
            in_flight_count=20,
            timeout_s=timeout_s,
            wrapper=far.wrapper,
        )
        await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > 50, "it is under way")
        far.lose(to_broker=to_broker, from_broker=from_broker)
        async with calling(broker.requester_url) as caller:
            pulse = Pulse(caller, "echo", {"message": "x"})
            await pulse.beat(1.0)
            assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
        await asyncio.to_thread(requester.wait_for_stdout, "timeout")
        await asyncio.to_thread(requester.wait_for_stderr, "silent|lost|closed")
        far.heal()
        healed_at = time.monotonic()
        count = len(read_calls(requester))
        await asyncio.to_thread(
            wait_until,
            lambda: "success" in {call.code for call in tuple(read_calls(requester).values())[count:]},
            "it is back",
        )
        assert time.monotonic() - healed_at < RETURN_S_MAX + NOTICED_S_MAX
        requester.terminate()
        await asyncio.to_thread(requester.wait)
        calls = assert_calls_balance(requester, [worker])
        assert max(call.duration_s for call in calls.values()) < timeout_s + 1
        assert_broker_balances(broker)
