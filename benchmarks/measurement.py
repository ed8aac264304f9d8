"""One measurement: one load on one broker, from the start of its process to the figures.

Knows the order of things (start, connect, warm up, measure, stop); knows nothing of wires or of tables.
"""

import asyncio
import gc
import sys
import time
from dataclasses import dataclass
from math import ceil

import psutil

from .broker_process import BrokerProcess, running_broker
from .contenders import Contender, Peer, Requester
from .cores import Cores, pinned_to
from .load import REQUESTER_COUNT, WORKER_COUNT, Load
from .request_stream import RequestStream

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

# Far above what any broker here needs for a load; a broker that loses a request is told by it.
STREAM_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of one load on one broker.

    CPU is of the whole process, user and system, in microseconds per request; latency is a requester's, from send to
    answer, with all the others in flight; memory is resident, in MiB, right after the last answer; `other_cores` is
    how many cores all other programs of the machine kept busy meanwhile: far from 0, the rest is to be doubted.
    """

    broker_cpu_us: float
    load_cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    other_cores: float


def measure(contender: Contender, load: Load, cores: Cores) -> Measurement:
    """Runs `load` on a fresh process of `contender`. Raises BrokerFailed, LoadFailed, OSError."""
    with (
        running_broker(contender.command, contender.find_addresses, cores.broker) as broker,
        pinned_to(cores.load),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_measure(contender, load, broker))


async def _measure(contender: Contender, load: Load, broker: BrokerProcess) -> Measurement:
    stream = RequestStream()
    requesters: list[Requester] = []
    peers: list[Peer] = []
    try:
        for number in range(WORKER_COUNT):
            worker = contender.make_worker(load, stream, f"w{number + 1}")
            await worker.open(broker.addresses.workers)
            peers.append(worker)
        for _ in range(REQUESTER_COUNT):
            requester = contender.make_requester(load, stream)
            await requester.open(broker.addresses.requesters)
            peers.append(requester)
            requesters.append(requester)
        await _run_stream(stream, requesters, load.warm_up_count)
        return await _run_measured(stream, requesters, load.request_count, broker)
    finally:
        for peer in peers:
            peer.close()


async def _run_measured(
    stream: RequestStream, requesters: list[Requester], request_count: int, broker: BrokerProcess
) -> Measurement:
    # The load makes no cycles; a collection in the middle would only show up as latency of the broker.
    gc.collect()
    gc.disable()
    try:
        before = _clocks(broker)
        await _run_stream(stream, requesters, request_count)
        after = _clocks(broker)
    finally:
        gc.enable()
    duration_s, broker_cpu_s, load_cpu_s, machine_cpu_s = (
        end - start for start, end in zip(before, after, strict=True)
    )
    latencies_s = sorted(stream.latencies_s)
    return Measurement(
        broker_cpu_us=broker_cpu_s / request_count * 1e6,
        load_cpu_us=load_cpu_s / request_count * 1e6,
        requests_per_s=request_count / duration_s,
        p50_ms=_percentile(latencies_s, 0.50) * 1e3,
        p99_ms=_percentile(latencies_s, 0.99) * 1e3,
        rss_mib=broker.rss_bytes() / 2**20,
        other_cores=max(0.0, machine_cpu_s - broker_cpu_s - load_cpu_s) / duration_s,
    )


def _clocks(broker: BrokerProcess) -> tuple[float, float, float, float]:
    """Seconds: of the wall, of the broker's CPU, of this process's, and of all that the machine did but idle."""
    machine = psutil.cpu_times()
    idle_s = machine.idle + getattr(machine, "iowait", 0.0)
    # Linux counts the time of guests within user and nice as well.
    guests_s = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
    return time.perf_counter(), broker.cpu_s(), time.process_time(), sum(machine) - idle_s - guests_s


async def _run_stream(stream: RequestStream, requesters: list[Requester], request_count: int) -> None:
    stream.begin(request_count)
    for requester in requesters:
        requester.start()
    await stream.until_ended(STREAM_TIMEOUT_S)


def _percentile(ordered: list[float], share: float) -> float:
    # Nearest rank: the smallest value that at least `share` of all do not exceed.
    return ordered[ceil(share * len(ordered)) - 1]
