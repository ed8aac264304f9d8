"""How long small requests wait while the broker has heavy work: an overloaded worker, a payload of 1 MiB."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from ..broker_process import BrokerProcess
from ..contenders import TASKFERRY, Contender, PacedRequester
from ..floors.peers import TcpRequester, TcpWorker
from ..formats import number, ratio
from ..load import Load
from ..measurement import STREAM_TIMEOUT_S, no_collections, opened, percentile
from ..paced import send_paced
from ..payload import SIZE_BYTES_MAX, SIZE_BYTES_MIN, json_data
from ..request_stream import RequestStream
from ..results import SectionResults
from ..running import run_beside
from ..taskferry_peers import TaskferryRequester, TaskferryWorker
from .section import Report, Round, Section, Table

FLOOR: Final = "tcp floor"
PHASE_S: Final = 2.0
SMALL_PER_S: Final = 500
SMALL_COUNT_MIN: Final = 20
BULK_SERVICE_S: Final = 0.010
BULK_SLOTS_COUNT: Final = 8
BULK_PER_S: Final = round(2 * BULK_SLOTS_COUNT / BULK_SERVICE_S)
"""Twice what the one worker that serves it can handle."""

_DATA: Final = json_data(SIZE_BYTES_MIN, "records")
# Lanes are used in turn, so there must be more of them than requests that can be waiting at the end of a phase.
_SMALL: Final = Load(_DATA, commands=("small",), in_flight_count_per_requester=1_000)
_BULK: Final = Load(_DATA, commands=("bulk",), in_flight_count_per_requester=10_000)
_SWAMPED: Final = Load(_DATA, commands=("small", "bulk"), worker_concurrency=BULK_SLOTS_COUNT)
_RECORDS: Final = Load(
    json_data(SIZE_BYTES_MAX, "records"), commands=("big",), in_flight_count_per_requester=1
)
_TEXT: Final = Load(json_data(SIZE_BYTES_MAX, "text"), commands=("big",), in_flight_count_per_requester=1)

Heavy = AbstractAsyncContextManager[RequestStream]
"""Runs the heavy work within the block; gives the stream whose answers are counted."""


class SwampedWorker(TaskferryWorker):
    """A worker that takes BULK_SERVICE_S for `bulk`, and no time for anything else."""

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.find(b'"action":"bulk"', start, end) < 0:
            super().take_message(buffer, start, end)
            return
        msg_id = self._wire.msg_id(buffer, start, end)
        asyncio.get_running_loop().call_later(BULK_SERVICE_S, self._answer_late, msg_id)

    def _answer_late(self, msg_id: bytearray) -> None:
        self.answer(msg_id)
        self.flush()


async def _beside_bulk(phase_s: float, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    small = TaskferryRequester(_SMALL, stream)
    workers = [TaskferryWorker(_SMALL, stream, "idle"), SwampedWorker(_SWAMPED, stream, "swamped")]
    async with opened(workers, broker.addresses.workers), opened([small], broker.addresses.requesters):
        return await _phases(small, stream, _bulk(broker), phase_s)


async def _beside_big(load: Load, phase_s: float, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    small = TaskferryRequester(_SMALL, stream)
    workers = [TaskferryWorker(_SMALL, stream, "small"), TaskferryWorker(load, stream, "big")]
    async with opened(workers, broker.addresses.workers), opened([small], broker.addresses.requesters):
        return await _phases(small, stream, _big(TaskferryRequester, load, broker), phase_s)


async def _beside_big_at_floor(phase_s: float, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    small = TcpRequester(_SMALL, stream)
    # It sends back whatever it gets.
    workers = [TcpWorker(_TEXT, stream, "any")]
    async with opened(workers, broker.addresses.workers), opened([small], broker.addresses.requesters):
        return await _phases(small, stream, _big(TcpRequester, _TEXT, broker), phase_s)


@asynccontextmanager
async def _bulk(broker: BrokerProcess) -> AsyncIterator[RequestStream]:
    """BULK_PER_S small requests of a slow command."""
    stream = RequestStream()
    stream.await_more(sys.maxsize)
    requester = TaskferryRequester(_BULK, stream)
    async with opened([requester], broker.addresses.requesters):
        sending = asyncio.create_task(send_paced(requester, BULK_PER_S, sys.maxsize))
        try:
            yield stream
        finally:
            sending.cancel()
        stream.check()


@asynccontextmanager
async def _big(
    make_requester: Callable[[Load, RequestStream], TaskferryRequester | TcpRequester],
    load: Load,
    broker: BrokerProcess,
) -> AsyncIterator[RequestStream]:
    """One large request in flight at any time."""
    stream = RequestStream()
    stream.begin_endless()
    requester = make_requester(load, stream)
    async with opened([requester], broker.addresses.requesters):
        requester.start()
        yield stream
        stream.check()


async def _phases(
    small: PacedRequester, stream: RequestStream, heavy: Heavy, phase_s: float
) -> Mapping[str, float]:
    """Latencies of the small requests alone, then beside the heavy work."""
    with no_collections():
        await _latencies_s(small, stream, phase_s / 5)  # warm-up
        alone_s = await _latencies_s(small, stream, phase_s)
        async with heavy as heavy_stream:
            began = asyncio.get_running_loop().time()
            beside_s = await _latencies_s(small, stream, phase_s)
            heavy_per_s = len(heavy_stream.latencies_s) / (asyncio.get_running_loop().time() - began)
    return {
        **{f"alone_{name}_ms": percentile(alone_s, share) * 1e3 for name, share in PERCENTILES.items()},
        **{f"beside_{name}_ms": percentile(beside_s, share) * 1e3 for name, share in PERCENTILES.items()},
        "heavy_per_s": heavy_per_s,
    }


PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


async def _latencies_s(small: PacedRequester, stream: RequestStream, phase_s: float) -> list[float]:
    count = max(SMALL_COUNT_MIN, round(SMALL_PER_S * phase_s))
    stream.await_more(count)
    await send_paced(small, SMALL_PER_S, count)
    await stream.until_ended(STREAM_TIMEOUT_S)
    return sorted(stream.latencies_s)


class Scenario(NamedTuple):
    """What runs beside the small requests, on which broker."""

    beside: str
    broker: str
    run: Callable[[float, BrokerProcess], Any]


SCENARIOS: Final = (
    Scenario("one worker swamped", TASKFERRY, _beside_bulk),
    Scenario("1 MiB of records", TASKFERRY, partial(_beside_big, _RECORDS)),
    Scenario("1 MiB of text", TASKFERRY, partial(_beside_big, _TEXT)),
    Scenario("1 MiB of text", FLOOR, _beside_big_at_floor),
)


def _measure(a_round: Round, report: Report) -> None:
    by_name: dict[str, Contender] = {one.name: one for one in a_round.contenders}
    phase_s = PHASE_S * a_round.extent.seconds_share
    for scenario in SCENARIOS:
        if scenario.broker not in by_name:
            continue
        shown = run_beside(by_name[scenario.broker], a_round.cores, partial(scenario.run, phase_s))
        report({"beside": scenario.beside, "broker": scenario.broker}, shown)
        a_round.note(
            f"{scenario.beside}  {scenario.broker}: p99 {shown['alone_p99_ms']:.2f} ms alone, "
            f"{shown['beside_p99_ms']:.2f} ms beside it"
        )


def _tables(results: SectionResults) -> list[Table]:
    rows = []
    for row in results.rows:
        alone, beside = (
            [row.median(f"{phase}_{name}_ms") for name in PERCENTILES] for phase in ("alone", "beside")
        )
        rows.append(
            (
                str(row.case["beside"]),
                str(row.case["broker"]),
                *(ratio(value, base) for value, base in zip(beside, alone, strict=True)),
                *(number(value) for pair in zip(alone, beside, strict=True) for value in pair),
                number(row.median("heavy_per_s")),
            )
        )
    headings = (
        "beside",
        "broker",
        *(f"{name} / alone" for name in ("p50", "p99", "p99.9")),
        *(f"{name} {phase} ms" for name in ("p50", "p99", "p99.9") for phase in ("alone", "beside")),
        "heavy/s",
    )
    return [Table("Latency of small requests", headings, rows, text_columns=2)]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """p99 alone and beside, by scenario."""
    labels = [f"{row.case['beside']}\n{row.case['broker']}" for row in results.rows]
    for phase in ("alone", "beside"):
        axes[0].plot([row.median(f"{phase}_p99_ms") for row in results.rows], labels, "o", label=phase)
    axes[0].invert_yaxis()
    axes[0].margins(y=0.2)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("p99 of small requests, ms")
    axes[0].legend()


SECTION: Final = Section(
    name="latency",
    title="How long small requests wait",
    meaning=(
        f"{SMALL_PER_S} small requests a second, sent whether others are answered or not; first alone, then beside "
        f"heavy work on the same broker. One worker swamped: {BULK_PER_S:,} requests a second of a command that takes "
        f"{BULK_SERVICE_S * 1e3:.0f} ms, twice what the one worker that serves it can handle; that worker and an idle "
        "one serve the small requests. 1 MiB: one request just below the bound for messages is always in flight, to "
        "its own worker. The load is one process, which also has to move the large payload: the floor's figures show "
        "that part."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
)
