"""What a line of waiting requests costs: held at a depth while requests flow through it, and drained."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ..broker_process import BrokerProcess
from ..formats import number, ratio
from ..load import Load, Mode
from ..measurement import STREAM_TIMEOUT_S, Clocks, no_collections, opened
from ..payload import SIZE_BYTES_MIN, json_data
from ..request_stream import LoadFailed, RequestStream
from ..results import SectionResults
from ..running import run_beside
from ..taskferry_peers import TaskferryRequester, TaskferryWorker
from ..taskferry_wire import WIRES
from ..websocket_connection import frame
from .section import Report, Round, Section, Table

REQUESTS_COUNT: Final = 20_000
# 100,000 need more than ten: a connection may have 10,000 in flight.
REQUESTERS_COUNT: Final = 16
WORKERS_COUNT: Final = 4
SLOTS_COUNT: Final = 128
# So long that nothing here waits for a tenth of it, when the broker would consider it overload.
TIMEOUT_S: Final = 3_600.0
FILL_TIMEOUT_S: Final = 60.0


class HoldingWorker(TaskferryWorker):
    """A worker that holds its answers back until it is released."""

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream, name)
        self._held: list[bytearray] | None = []

    def take_assignment(self, msg_id: bytearray) -> None:
        if self._held is None:
            self.answer(msg_id)
        else:
            self._held.append(msg_id)

    def let_go(self) -> None:
        """Answer everything that has arrived, and the rest at once."""
        held, self._held = self._held or [], None
        for msg_id in held:
            self.answer(msg_id)
        self.flush()


class AskingRequester(TaskferryRequester):
    """A requester that can wait until the broker has read everything it sent."""

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._pong_mark = WIRES[load.encoding].pong_mark
        self._is_asking = False
        self._answered = asyncio.Event()

    async def until_taken(self) -> None:
        """Return when the broker has read all requests so far: it reads messages in order. Raises LoadFailed."""
        self._is_asking = True
        self.send(frame(self._opcode_octet, self._wire.encode({"type": "ping"})))
        self.flush()
        try:
            await asyncio.wait_for(self._answered.wait(), FILL_TIMEOUT_S)
        except TimeoutError:
            raise LoadFailed(f"the broker had not read all requests after {FILL_TIMEOUT_S:g} s") from None

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if self._is_asking and buffer.find(self._pong_mark, start, end) >= 0:
            self._is_asking = False
            self._answered.set()
        else:
            super().take_message(buffer, start, end)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of `depth` requests, for workers with SLOTS_COUNT slots in total that are full."""

    mode: Mode
    depth: int

    def load(self, requests_share: float) -> Load:
        """Keeps as many in flight as fill the slots and the line; `requests_share` of the requests are measured."""
        load = Load(
            json_data(SIZE_BYTES_MIN, "records"),
            mode=self.mode,
            request_count=REQUESTS_COUNT,
            warm_up_count=REQUESTS_COUNT // 10,
            requester_count=REQUESTERS_COUNT,
            in_flight_count_per_requester=-(-(self.depth + SLOTS_COUNT) // REQUESTERS_COUNT),
            worker_count=WORKERS_COUNT,
            worker_concurrency=SLOTS_COUNT // WORKERS_COUNT,
            timeout_s=TIMEOUT_S,
        )
        return load.shortened(requests_share)


LINES: Final = (
    *(Line("each", depth) for depth in (0, 10, 1_000, 10_000, 100_000)),
    *(Line("joined", depth) for depth in (0, 100_000)),
)


def _measure(a_round: Round, report: Report) -> None:
    for line in LINES:
        if line.depth > a_round.extent.count_max:
            continue
        load = line.load(a_round.extent.requests_share)
        shown = run_beside(a_round.taskferry, a_round.cores, partial(_hold_and_drain, load))
        report({"mode": line.mode, "depth": line.depth}, shown)
        a_round.note(
            f"{line.depth} waiting, {line.mode}: {shown['held_cpu_us']:.2f} us CPU per request, "
            f"{shown['other_cores']:.2f} other cores busy"
        )


async def _hold_and_drain(load: Load, broker: BrokerProcess) -> Mapping[str, float]:
    stream = RequestStream()
    workers = [HoldingWorker(load, stream, f"w{index}") for index in range(load.worker_count)]
    requesters = [AskingRequester(load, stream) for _ in range(load.requester_count)]
    in_flight_count = load.requester_count * load.in_flight_count_per_requester
    async with opened(workers, broker.addresses.workers), opened(requesters, broker.addresses.requesters):
        with no_collections():
            rss_bytes = broker.rss_bytes()
            empty = Clocks.of(broker)
            stream.begin_endless()
            for requester in requesters:
                requester.start()
            await asyncio.gather(*(requester.until_taken() for requester in requesters))
            filled = Clocks.of(broker).since(empty)
            waiting_bytes = (broker.rss_bytes() - rss_bytes) / in_flight_count

            # Each answer lets one more in: the depth of the line stays the same.
            stream.await_more(load.warm_up_count)
            for worker in workers:
                worker.let_go()
            await stream.until_ended(STREAM_TIMEOUT_S)
            before = Clocks.of(broker)
            stream.await_more(load.request_count)
            await stream.until_ended(STREAM_TIMEOUT_S)
            held = Clocks.of(broker).since(before)

            # Nothing more comes: what is in flight is answered, and that is all.
            stream.unsent_count = 0
            before = Clocks.of(broker)
            stream.await_more(in_flight_count)
            await stream.until_ended(STREAM_TIMEOUT_S)
            drained = Clocks.of(broker).since(before)
    return {
        "held_cpu_us": held.broker_s / load.request_count * 1e6,
        "held_requests_per_s": load.request_count / held.wall_s,
        "load_cpu_us": held.load_s / load.request_count * 1e6,
        "other_cores": held.other_cores,
        "fill_cpu_us": filled.broker_s / in_flight_count * 1e6,
        "drain_cpu_us": drained.broker_s / in_flight_count * 1e6,
        "drain_requests_per_s": in_flight_count / drained.wall_s,
        "waiting_bytes": waiting_bytes,
    }


def _tables(results: SectionResults) -> list[Table]:
    return [_table(results, str(mode)) for mode in results.cases("mode")]


def _table(results: SectionResults, mode: str) -> Table:
    unqueued_cpu_us = results.median("held_cpu_us", mode=mode, depth=0)
    unqueued_per_s = results.median("held_requests_per_s", mode=mode, depth=0)
    rows = []
    for row in results.rows:
        if row.case["mode"] != mode:
            continue
        # Without a line there is nothing to fill and drain but the slots.
        figures = {
            name: row.median(name) if row.case["depth"] or name in _HELD else None for name in _FIGURES
        }
        rows.append(
            (
                f"{row.case['depth']:,}",
                ratio(figures["held_cpu_us"], unqueued_cpu_us),
                ratio(figures["held_requests_per_s"], unqueued_per_s),
                ratio(figures["drain_requests_per_s"], unqueued_per_s),
                *(number(value) for value in figures.values()),
            )
        )
    headings = (
        "waiting",
        "held: CPU / unqueued",
        "held: rate / unqueued",
        "drain: rate / unqueued",
        *_FIGURES.values(),
    )
    return Table(f"Client writes: {mode}", headings, rows, text_columns=0)


_HELD: Final = ("held_cpu_us", "held_requests_per_s", "load_cpu_us")
_FIGURES: Final = {
    "held_cpu_us": "held: CPU us",
    "held_requests_per_s": "held: requests/s",
    "load_cpu_us": "held: load CPU us",
    "fill_cpu_us": "fill: CPU us",
    "drain_cpu_us": "drain: CPU us",
    "drain_requests_per_s": "drain: requests/s",
    "waiting_bytes": "RSS bytes per waiting request",
}


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """CPU per request and rates over the depth of the line, one send per message."""
    depths = [
        int(row.case["depth"]) for row in results.rows if row.case["mode"] == "each" and row.case["depth"]
    ]
    for place, names, label in (
        (axes[0], ("held_cpu_us",), "CPU per request, us"),
        (axes[1], ("held_requests_per_s", "drain_requests_per_s"), "requests/s"),
    ):
        for name in names:
            values = [results.median(name, mode="each", depth=depth) or float("nan") for depth in depths]
            place.plot(depths, values, marker="o", label=_FIGURES[name].split(":")[0])
        unqueued = results.median(names[0], mode="each", depth=0)
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
        "Workers with 128 slots in total hold their answers back until the broker has read every request, so that "
        "all but 128 wait. Held: each answer lets one more request in, so the depth of the line stays the same "
        "while requests flow through it. Drain: nothing more comes. Small JSON from 16 requesters, which take "
        "turns in a line: so consecutive answers go to different connections, and hardly any two leave in one "
        "write. Unqueued is the same load with 128 in flight, which is what the slots hold."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    plots_count=2,
)
