"""Durable jobs: what a submission and a job cost, how soon a receipt comes, and what live requests see of a flood."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from ..broker_process import BrokerProcess, running_broker
from ..contenders import with_journal
from ..cores import Cores
from ..formats import number, span
from ..load import Load
from ..measurement import (
    STREAM_TIMEOUT_S,
    Clocks,
    figures,
    no_collections,
    opened,
    percentile,
    run_stream,
)
from ..paced import send_paced
from ..payload import SIZE_BYTES_MIN, json_data
from ..request_stream import LoadFailed, RequestStream
from ..results import SectionResults
from ..running import run_beside
from ..taskferry_jobs import JobRequester, JobSubmitter
from ..taskferry_peers import TaskferryRequester, TaskferryWorker
from .section import Report, Round, Section, Table

SUBMISSIONS: Final = "submitted, no worker"
JOBS: Final = "submitted and done, 4 worker processes"
RECEIPTS: Final = "1,000 submissions a second"
ANYWHERE: Final = Cores(broker=None, load=None)
"""Nothing is pinned: the broker has a second thread, which writes the journal."""

WORKER_PROCESSES_COUNT: Final = 4
RECEIPTS_PER_S: Final = 1_000
RECEIPTS_S: Final = 4.0
PHASE_S: Final = 3.0
SMALL_PER_S: Final = 500
SMALL_COUNT_MIN: Final = 20
FLOODS_PER_S: Final = (1_000, 5_000)
"""Submissions a second beside live requests: what is common, and far more than most ever have."""

_DATA: Final = json_data(SIZE_BYTES_MIN, "records")
_SUBMITTED: Final = Load(
    _DATA,
    request_count=60_000,
    warm_up_count=5_000,
    commands=("unserved",),
    in_flight_count_per_requester=64,
)
_DONE: Final = Load(_DATA, request_count=40_000, warm_up_count=4_000, in_flight_count_per_requester=64)
_PACED: Final = Load(_DATA, commands=("unserved",), in_flight_count_per_requester=5_000)
_SMALL: Final = Load(_DATA, commands=("small",), in_flight_count_per_requester=1_000)
_FLOOD: Final = Load(_DATA, commands=("flooded",), in_flight_count_per_requester=9_000)


async def _submit(load: Load, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    requesters = [JobSubmitter(load, stream) for _ in range(load.requester_count)]
    async with opened(requesters, broker.addresses.requesters):
        return await _closed_loop(stream, requesters, load, broker)


async def _complete(load: Load, python: str, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    requesters = [JobRequester(load, stream) for _ in range(load.requester_count)]
    with _worker_processes(python, broker):
        async with opened(requesters, broker.addresses.requesters):
            return await _closed_loop(stream, requesters, load, broker)


async def _closed_loop(
    stream: RequestStream, requesters: Sequence[JobSubmitter], load: Load, broker: BrokerProcess
) -> Mapping[str, float]:
    await run_stream(stream, requesters, load.warm_up_count)
    with no_collections():
        before = Clocks.of(broker)
        await run_stream(stream, requesters, load.request_count)
        passed = Clocks.of(broker).since(before)
    return asdict(figures(passed, stream, load.request_count, broker))


@contextmanager
def _worker_processes(python: str, broker: BrokerProcess) -> Iterator[None]:
    """The processes of a user's workers, with the SDK. They are ready once the warm-up's first jobs are done: until
    then jobs wait."""
    host, port = broker.addresses.workers
    command = (
        *(python, "-m", "taskferry.worker", "benchmarks.peers.end_to_end.taskferry_tasks:worker"),
        *("--broker", f"ws://{host}:{port}"),
    )
    processes = [
        subprocess.Popen(
            (*command, "--name", f"w{index}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for index in range(WORKER_PROCESSES_COUNT)
    ]
    try:
        yield
        if any(process.poll() is not None for process in processes):
            raise LoadFailed("a worker process has ended")
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _receipts(count: int, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    submitter = JobSubmitter(_PACED, stream)
    async with opened([submitter], broker.addresses.requesters):
        with no_collections():
            await _paced(submitter, stream, count // 4 + 1)  # warm-up
            before = Clocks.of(broker)
            await _paced(submitter, stream, count)
            passed = Clocks.of(broker).since(before)
    return asdict(figures(passed, stream, count, broker))


async def _paced(submitter: JobSubmitter, stream: RequestStream, count: int) -> None:
    stream.await_more(count)
    await send_paced(submitter, RECEIPTS_PER_S, count)
    await stream.until_ended(STREAM_TIMEOUT_S)


async def _beside_flood(
    per_s: int, phase_s: float, other: BrokerProcess, broker: BrokerProcess
) -> Mapping[str, float]:
    """Live requests alone, beside a flood of jobs at another broker on the same core, and beside it at their own."""
    stream = RequestStream()
    small = TaskferryRequester(_SMALL, stream)
    workers = [TaskferryWorker(_SMALL, stream, "small")]
    async with opened(workers, broker.addresses.workers), opened([small], broker.addresses.requesters):
        with no_collections():
            await _latencies_s(small, stream, phase_s / 5)  # warm-up
            alone_s = await _latencies_s(small, stream, phase_s)
            async with _flood(per_s, other):
                await _latencies_s(small, stream, phase_s / 5)
                elsewhere_s = await _latencies_s(small, stream, phase_s)
            async with _flood(per_s, broker) as jobs:
                await _latencies_s(small, stream, phase_s / 5)
                jobs.latencies_s.clear()
                began = asyncio.get_running_loop().time()
                beside_s = await _latencies_s(small, stream, phase_s)
                jobs_per_s = len(jobs.latencies_s) / (asyncio.get_running_loop().time() - began)
    return {
        **{
            f"{phase}_{name}_ms": percentile(latencies_s, share) * 1e3
            for phase, latencies_s in zip(PHASES, (alone_s, elsewhere_s, beside_s), strict=True)
            for name, share in PERCENTILES.items()
        },
        "jobs_per_s": jobs_per_s,
    }


PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
PHASES: Final = ("alone", "elsewhere", "beside")


@asynccontextmanager
async def _flood(per_s: int, broker: BrokerProcess) -> AsyncIterator[RequestStream]:
    """Jobs that are submitted at this rate, and done by a worker of their own."""
    stream = RequestStream()
    stream.await_more(sys.maxsize)
    submitter = JobSubmitter(_FLOOD, stream)
    worker = TaskferryWorker(_FLOOD, stream, "flooded")
    async with opened([worker], broker.addresses.workers), opened([submitter], broker.addresses.requesters):
        sending = asyncio.create_task(send_paced(submitter, per_s, sys.maxsize))
        try:
            yield stream
        finally:
            sending.cancel()
        stream.check()


async def _latencies_s(small: TaskferryRequester, stream: RequestStream, phase_s: float) -> list[float]:
    count = max(SMALL_COUNT_MIN, round(SMALL_PER_S * phase_s))
    stream.await_more(count)
    await send_paced(small, SMALL_PER_S, count)
    await stream.until_ended(STREAM_TIMEOUT_S)
    return sorted(stream.latencies_s)


def flood_name(per_s: int) -> str:
    """How the flood of that rate is called."""
    return f"{per_s:,} jobs a second"


def _measure(a_round: Round, report: Report) -> None:
    contender = with_journal(a_round.taskferry)
    python, share = contender.command[0], a_round.extent.requests_share
    seconds_share = a_round.extent.seconds_share
    for name, cores, run in (
        (SUBMISSIONS, ANYWHERE, partial(_submit, _SUBMITTED.shortened(share))),
        (JOBS, ANYWHERE, partial(_complete, _DONE.shortened(share), python)),
        (RECEIPTS, a_round.cores, partial(_receipts, round(RECEIPTS_PER_S * RECEIPTS_S * seconds_share))),
    ):
        shown = run_beside(contender, cores, run)
        report({"jobs": name}, shown)
        a_round.note(
            f"{name}: {shown['requests_per_s']:,.0f}/s, {shown['broker_cpu_us']:.0f} us CPU, "
            f"p50 {shown['p50_ms']:.2f} ms"
        )
    for per_s in FLOODS_PER_S:
        with running_broker(contender.command, contender.find_addresses, a_round.cores.broker) as other:
            run = partial(_beside_flood, per_s, PHASE_S * seconds_share, other)
            shown = run_beside(contender, a_round.cores, run)
        report({"beside": flood_name(per_s)}, shown)
        a_round.note(
            f"beside {flood_name(per_s)}: p99 of live requests {shown['alone_p99_ms']:.2f} ms alone, "
            f"{shown['elsewhere_p99_ms']:.2f} ms with them at another broker, "
            f"{shown['beside_p99_ms']:.2f} ms beside them"
        )


def _tables(results: SectionResults) -> list[Table]:
    jobs = [
        (
            str(row.case["jobs"]),
            number(row.median("requests_per_s")),
            span(row.figures["requests_per_s"]),
            *(number(row.median(figure)) for figure in ("broker_cpu_us", "p50_ms", "p99_ms", "p999_ms")),
        )
        for row in results.rows
        if "jobs" in row.case
    ]
    headings = ("jobs", "a second", "(min..max)", "broker CPU us", "p50 ms", "p99 ms", "p99.9 ms")
    beside = [
        (
            str(row.case["beside"]),
            *(
                number(row.median("beside_p99_ms") / row.median(f"{phase}_p99_ms"))
                for phase in ("elsewhere", "alone")
            ),
            *(number(row.median(f"{phase}_{name}_ms")) for name in PERCENTILES for phase in PHASES),
            number(row.median("jobs_per_s")),
        )
        for row in results.rows
        if "beside" in row.case
    ]
    beside_headings = (
        "beside",
        *(f"p99 / {phase}" for phase in ("elsewhere", "alone")),
        *(f"{name} {phase} ms" for name in ("p50", "p99", "p99.9") for phase in PHASES),
        "jobs/s",
    )
    return [
        Table("What is submitted, from its sending to its receipt or result", headings, jobs),
        Table("Latency of live requests", beside_headings, beside),
    ]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """p99 of live requests in each phase, by flood."""
    rows = [row for row in results.rows if "beside" in row.case]
    for phase in PHASES:
        axes[0].plot(
            [row.median(f"{phase}_p99_ms") for row in rows],
            [str(row.case["beside"]) for row in rows],
            "o",
            label=phase,
        )
    axes[0].invert_yaxis()
    axes[0].margins(y=0.3)
    axes[0].set_xlabel("p99 of live requests, ms")
    axes[0].legend()


SECTION: Final = Section(
    name="jobs",
    title="Durable jobs",
    meaning=(
        "Every submission is on disk (fsync) before its receipt. Submitted: from 8 connections with 64 submissions in "
        "flight on each, of a command that no worker serves, so that nothing else happens. Submitted and done: the "
        "same with 4 worker processes (the SDK, `taskferry worker`), each job until its result has been awaited; here "
        f"and there no process is pinned. {RECEIPTS}: sent whether others have their receipts or not. Broker CPU is "
        f"that of all its threads. Live requests: {SMALL_PER_S} a second, alone, then while jobs are submitted and "
        "done by a worker of their own: elsewhere, at another broker on the same core, then beside them, at the same "
        "broker. Elsewhere is what shared cores and the load's own process cost; what is above it is the broker's."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
)
