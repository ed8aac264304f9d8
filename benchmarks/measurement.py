"""One measurement of one load on one broker: start its process, connect, warm up, measure, stop."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TypeVar

import psutil

from .broker_process import BrokerProcess
from .contenders import Contender, Peer, Requester
from .cores import Cores
from .load import Load
from .request_stream import RequestStream
from .running import run_beside

# Far above what any broker here needs for a load; it detects a broker that loses a request.
STREAM_TIMEOUT_S = 120.0
# Concurrent handshakes: enough to keep a broker busy, far below any backlog.
OPENING_COUNT_MAX = 64

P = TypeVar("P", bound=Peer)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of one load on one broker.

    CPU time is of the whole process, user and system, in microseconds per request; latency is a requester's, from send
    to answer, with all the others in flight; memory is resident, in MiB, right after the last answer; `other_cores` is
    how many cores all other programs on the machine kept busy meanwhile: if it is far from 0, doubt the figures.
    """

    broker_cpu_us: float
    load_cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    rss_mib: float
    other_cores: float


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds at one moment: wall time, and CPU time of the broker, of this process, and of the whole machine."""

    wall_s: float
    broker_s: float
    load_s: float
    machine_s: float

    @classmethod
    def of(cls, broker: BrokerProcess) -> "Clocks":
        """The clocks now."""
        machine = psutil.cpu_times()
        idle_s = machine.idle + getattr(machine, "iowait", 0.0)
        # Linux counts guest time in user and nice as well.
        guests_s = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        machine_s = sum(machine) - idle_s - guests_s
        return cls(time.perf_counter(), broker.cpu_s(), time.process_time(), machine_s)

    @property
    def other_cores(self) -> float:
        """How many cores all other programs kept busy during this span."""
        return max(0.0, self.machine_s - self.broker_s - self.load_s) / self.wall_s

    def since(self, before: "Clocks") -> "Clocks":
        """The time that has passed on each clock."""
        return Clocks(
            self.wall_s - before.wall_s,
            self.broker_s - before.broker_s,
            self.load_s - before.load_s,
            self.machine_s - before.machine_s,
        )


def measure(contender: Contender, load: Load, cores: Cores) -> Measurement:
    """Runs `load` on a fresh process of `contender`. Raises BrokerFailed, LoadFailed, OSError."""
    return run_beside(contender, cores, partial(_measure, contender, load))


async def _measure(contender: Contender, load: Load, broker: BrokerProcess) -> Measurement:
    stream = RequestStream()
    workers = [
        contender.make_worker(load.for_peer(index), stream, f"w{index + 1}")
        for index in range(load.worker_count)
    ]
    requesters = [
        contender.make_requester(load.for_peer(index), stream) for index in range(load.requester_count)
    ]
    async with opened(workers, broker.addresses.workers), opened(requesters, broker.addresses.requesters):
        await run_stream(stream, requesters, load.warm_up_count)
        with no_collections():
            before = Clocks.of(broker)
            await run_stream(stream, requesters, load.request_count)
            passed = Clocks.of(broker).since(before)
        return figures(passed, stream, load.request_count, broker)


def figures(passed: Clocks, stream: RequestStream, request_count: int, broker: BrokerProcess) -> Measurement:
    """The figures of `request_count` requests, from the clocks and the latencies."""
    latencies_s = sorted(stream.latencies_s)
    return Measurement(
        broker_cpu_us=passed.broker_s / request_count * 1e6,
        load_cpu_us=passed.load_s / request_count * 1e6,
        requests_per_s=request_count / passed.wall_s,
        p50_ms=percentile(latencies_s, 0.50) * 1e3,
        p99_ms=percentile(latencies_s, 0.99) * 1e3,
        p999_ms=percentile(latencies_s, 0.999) * 1e3,
        rss_mib=broker.rss_bytes() / 2**20,
        other_cores=passed.other_cores,
    )


@asynccontextmanager
async def opened(peers: Sequence[P], address: tuple[str, int]) -> AsyncIterator[Sequence[P]]:
    """Keeps all `peers` connected to `address` within the block. Raises LoadFailed, OSError."""
    begun: list[P] = []
    try:
        for start in range(0, len(peers), OPENING_COUNT_MAX):
            some = peers[start : start + OPENING_COUNT_MAX]
            begun += some
            await asyncio.gather(*(peer.open(address) for peer in some))
        yield peers
    finally:
        for peer in begun:
            peer.close()


@contextmanager
def no_collections() -> Iterator[None]:
    """No garbage collection within the block: a load makes no cycles, and a run would show as broker latency."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def run_stream(stream: RequestStream, requesters: Sequence[Requester], request_count: int) -> None:
    """Send `request_count` requests and wait for the last answer. Raises LoadFailed."""
    stream.begin(request_count)
    for requester in requesters:
        requester.start()
    await stream.until_ended(STREAM_TIMEOUT_S)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share`, in (0, 1], of all values do not exceed."""
    return ordered[ceil(share * len(ordered)) - 1]
