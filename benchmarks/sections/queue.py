"""What a line of waiting requests costs: held at a depth while requests flow through it, and drained.

Knows how a line is filled, held and let go; how the broker keeps it is the broker's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ..broker_process import BrokerProcess
from ..formats import number, ratio
from ..load import Load
from ..measurement import STREAM_TIMEOUT_S, Clocks, Measurement, figures, no_collections, opened
from ..payload import SIZE_BYTES_MIN, json_data
from ..request_stream import LoadFailed, RequestStream
from ..results import SectionResults
from ..running import run_beside
from ..taskferry_peers import TaskferryRequester, TaskferryWorker
from ..taskferry_wire import WIRES
from ..websocket_connection import frame
from .section import Report, Round, Section, Table

DEPTHS: Final = (10, 1_000, 10_000, 100_000)
REQUESTS_COUNT: Final = 20_000
# 100,000 need more than ten: a connection may have 10,000 in flight.
REQUESTERS_COUNT: Final = 16
WORKERS_COUNT: Final = 4
SLOTS_COUNT: Final = 128
# So long that nothing here waits for a tenth of it, where the broker would begin to call it overload.
TIMEOUT_S: Final = 3_600.0
FILL_TIMEOUT_S: Final = 60.0


class HoldingWorker(TaskferryWorker):
    """A worker that keeps its answers back until it is let go."""

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream, name)
        self._held: list[bytearray] | None = []

    def take_assignment(self, msg_id: bytearray) -> None:
        if self._held is None:
            self.answer(msg_id)
        else:
            self._held.append(msg_id)

    def let_go(self) -> None:
        """Answer all that came so far, and from now on at once."""
        held, self._held = self._held or [], None
        for msg_id in held:
            self.answer(msg_id)
        self.flush()


class AskingRequester(TaskferryRequester):
    """A requester that can ask whether the broker has taken all that it sent."""

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._pong_mark = WIRES[load.encoding].pong_mark
        self._is_asking = False
        self._answered = asyncio.Event()

    async def until_taken(self) -> None:
        """Returns when the broker has taken all requests so far: it takes messages in order. Raises LoadFailed."""
        self._is_asking = True
        self.send(frame(self._opcode_octet, self._wire.encode({"type": "ping"})))
        self.flush()
        try:
            await asyncio.wait_for(self._answered.wait(), FILL_TIMEOUT_S)
        except TimeoutError:
            raise LoadFailed(f"the broker had not taken all requests after {FILL_TIMEOUT_S:g} s") from None

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if self._is_asking and buffer.find(self._pong_mark, start, end) >= 0:
            self._is_asking = False
            self._answered.set()
        else:
            super().take_message(buffer, start, end)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of `depth` requests, before workers with SLOTS_COUNT slots in all that are full."""

    depth: int
    load: Load


def _line(depth: int, requests_share: float) -> Line:
    in_flight_count = -(-(depth + SLOTS_COUNT) // REQUESTERS_COUNT)
    load = Load(
        json_data(SIZE_BYTES_MIN, "records"),
        mode="joined",
        request_count=REQUESTS_COUNT,
        warm_up_count=REQUESTS_COUNT // 10,
        requester_count=REQUESTERS_COUNT,
        in_flight_count_per_requester=in_flight_count,
        worker_count=WORKERS_COUNT,
        worker_concurrency=SLOTS_COUNT // WORKERS_COUNT,
        timeout_s=TIMEOUT_S,
    )
    return Line(in_flight_count * REQUESTERS_COUNT - SLOTS_COUNT, load.shortened(requests_share))


def _measure(a_round: Round, report: Report) -> None:
    for depth in (0, *DEPTHS):
        if depth > a_round.extent.count_max:
            continue
        line = _line(depth, a_round.extent.requests_share)
        held = run_beside(a_round.taskferry, a_round.cores, partial(_hold, line))
        shown = {
            "held_cpu_us": held.broker_cpu_us,
            "held_requests_per_s": held.requests_per_s,
            "other_cores": held.other_cores,
        }
        if depth:
            shown |= run_beside(a_round.taskferry, a_round.cores, partial(_drain, line))
        report({"depth": depth}, shown)
        a_round.note(
            f"{depth} waiting: {held.broker_cpu_us:.2f} us CPU per request, {held.other_cores:.2f} other cores busy"
        )


async def _hold(line: Line, broker: BrokerProcess) -> Measurement:
    """As many come as leave: the line stays as deep as it is."""
    stream, load = RequestStream(), line.load
    workers = [HoldingWorker(load, stream, f"w{index}") for index in range(load.worker_count)]
    requesters = [AskingRequester(load, stream) for _ in range(load.requester_count)]
    async with opened(workers, broker.addresses.workers), opened(requesters, broker.addresses.requesters):
        stream.begin_endless()
        await _fill(requesters)
        stream.await_more(load.warm_up_count)
        for worker in workers:
            worker.let_go()
        await stream.until_ended(STREAM_TIMEOUT_S)
        with no_collections():
            before = Clocks.of(broker)
            stream.await_more(load.request_count)
            await stream.until_ended(STREAM_TIMEOUT_S)
            passed = Clocks.of(broker).since(before)
        return figures(passed, stream, load.request_count, broker)


async def _drain(line: Line, broker: BrokerProcess) -> Mapping[str, float]:
    """Nothing more comes: the line gets shorter until it is gone."""
    stream, load = RequestStream(), line.load
    workers = [HoldingWorker(load, stream, f"w{index}") for index in range(load.worker_count)]
    requesters = [AskingRequester(load, stream) for _ in range(load.requester_count)]
    async with opened(workers, broker.addresses.workers), opened(requesters, broker.addresses.requesters):
        rss_bytes = broker.rss_bytes()
        count = line.depth + SLOTS_COUNT
        stream.begin(count)
        with no_collections():
            empty = Clocks.of(broker)
            await _fill(requesters)
            full = Clocks.of(broker)
            waiting_bytes = (broker.rss_bytes() - rss_bytes) / count
            for worker in workers:
                worker.let_go()
            await stream.until_ended(STREAM_TIMEOUT_S)
            end = Clocks.of(broker)
    return {
        "fill_cpu_us": full.since(empty).broker_s / count * 1e6,
        "drain_cpu_us": end.since(full).broker_s / count * 1e6,
        "drain_requests_per_s": count / end.since(full).wall_s,
        "waiting_bytes": waiting_bytes,
    }


async def _fill(requesters: Sequence[AskingRequester]) -> None:
    for requester in requesters:
        requester.start()
    await asyncio.gather(*(requester.until_taken() for requester in requesters))


def _tables(results: SectionResults) -> list[Table]:
    unqueued_cpu_us = results.median("held_cpu_us", depth=0)
    unqueued_per_s = results.median("held_requests_per_s", depth=0)
    rows = []
    for depth in results.cases("depth"):
        row = {figure: results.median(figure, depth=depth) for figure in _FIGURES}
        whole_cpu_us = None
        if row["fill_cpu_us"] is not None and row["drain_cpu_us"] is not None:
            whole_cpu_us = row["fill_cpu_us"] + row["drain_cpu_us"]
        rows.append(
            (
                f"{depth:,}",
                ratio(row["held_cpu_us"], unqueued_cpu_us),
                ratio(row["held_requests_per_s"], unqueued_per_s),
                ratio(row["drain_requests_per_s"], unqueued_per_s),
                ratio(whole_cpu_us, unqueued_cpu_us),
                *(number(row[figure]) for figure in _FIGURES),
            )
        )
    headings = (
        "waiting",
        "held: CPU / unqueued",
        "held: rate / unqueued",
        "drain: rate / unqueued",
        "fill and drain: CPU / unqueued",
        *_FIGURES.values(),
    )
    return [Table("A line against none", headings, rows, text_columns=0)]


_FIGURES: Final = {
    "held_cpu_us": "held: CPU us",
    "held_requests_per_s": "held: requests/s",
    "fill_cpu_us": "fill: CPU us",
    "drain_cpu_us": "drain: CPU us",
    "drain_requests_per_s": "drain: requests/s",
    "waiting_bytes": "RSS bytes a waiting request",
}


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """CPU per request and rates over the depth of the line."""
    depths = [int(depth) for depth in results.cases("depth") if depth]
    for place, figures_, label in (
        (axes[0], ("held_cpu_us",), "CPU per request, us"),
        (axes[1], ("held_requests_per_s", "drain_requests_per_s"), "requests/s"),
    ):
        for figure in figures_:
            values = [results.median(figure, depth=depth) or float("nan") for depth in depths]
            place.plot(depths, values, marker="o", label=_FIGURES[figure].split(":")[0])
        unqueued = results.median(figures_[0], depth=0)
        if unqueued is not None:
            place.axhline(unqueued, linestyle="--", color="gray", label="unqueued")
        place.set_xscale("log")
        place.set_ylim(bottom=0)
        place.set_xlabel("waiting requests")
        place.set_ylabel(label)
        place.legend()


SECTION: Final = Section(
    name="queue",
    title="What waiting requests cost",
    meaning=(
        "Workers with 128 slots in all keep their answers back until the broker has taken every request, so that all "
        "but 128 wait. Held: each answer lets one more request in, so the line stays as deep as it is while requests "
        "flow through it. Drain: nothing more comes. Small JSON, sends joined; the line without waiting requests is "
        "the same load with 128 in flight."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    plots_count=2,
)
