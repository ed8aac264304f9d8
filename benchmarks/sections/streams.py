"""Streams: what chunks cost from a worker to a requester with credit, beside bare links that carry the same."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from ..broker_process import Addresses, BrokerProcess
from ..chunk_stream import ChunkStreams
from ..contenders import TASKFERRY, Contender, Peer, find_floor_addresses
from ..floors.chunk_peers import LinkReceiver, LinkSender
from ..formats import number, ratio, span
from ..load import Load
from ..measurement import STREAM_TIMEOUT_S, Clocks, no_collections, opened
from ..payload import SMALLEST, json_data
from ..results import SectionResults
from ..running import Program, run_beside
from ..taskferry_streams import COMMAND, TaskferryChunkRequester, TaskferryChunkWorker
from .section import Report, Round, Section, Table

CHUNK_SIZE_BYTES: Final = 65_536
ONE_HOP: Final = "link, one hop"
TWO_HOPS: Final = "link, two hops"
ROUNDS_COUNT_MAX: Final = 3


class Receiver(Peer, Protocol):
    """A peer that asks for a stream of so many chunks on `start`."""

    def start(self, chunk_count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Floor:
    """A program of floors/."""

    command: tuple[str, ...]
    find_addresses: Callable[[str], Addresses | None] = find_floor_addresses


@dataclass(frozen=True, slots=True)
class _Way:
    """How chunks travel; `make_sender` None: the program itself sends them."""

    name: str
    make_program: Callable[[Contender], Program]
    make_receiver: Callable[[Load, ChunkStreams], Receiver]
    make_sender: Callable[[Load, ChunkStreams, str], Peer] | None


def _floor(module: str, _: Contender) -> Program:
    return _Floor((sys.executable, "-m", f"benchmarks.floors.{module}"))


WAYS: Final = (
    _Way(TASKFERRY, lambda broker: broker, TaskferryChunkRequester, TaskferryChunkWorker),
    _Way(TWO_HOPS, partial(_floor, "pump"), LinkReceiver, LinkSender),
    _Way(ONE_HOP, partial(_floor, "source"), LinkReceiver, None),
)


@dataclass(frozen=True, slots=True)
class _Named:
    """`stream_count` streams at once, `chunk_count` chunks in all of them together. A bare link sees no difference
    between this one and `beside`, so it is not measured twice."""

    name: str
    meaning: str
    data: bytes
    chunk_count: int
    stream_count: int
    beside: str


NAMED: Final = (
    _Named(
        "64k-text",
        "one stream of 64 KiB: one long string",
        json_data(CHUNK_SIZE_BYTES, "text"),
        16_384,
        1,
        "64k-text",
    ),
    _Named(
        "64k-text-8",
        "8 streams of them at once",
        json_data(CHUNK_SIZE_BYTES, "text"),
        16_384,
        8,
        "64k-text-8",
    ),
    _Named(
        "64k-records",
        "one stream of 64 KiB: a list of small objects",
        json_data(CHUNK_SIZE_BYTES, "records"),
        8_192,
        1,
        "64k-text",
    ),
    _Named("small", f"one stream of {len(SMALLEST)} bytes", SMALLEST, 200_000, 1, "small"),
)
BY_NAME: Final = {one.name: one for one in NAMED}

FIGURES: Final = {
    "mib_per_s": "MiB/s",
    "chunks_per_s": "chunks/s",
    "broker_cpu_us": "CPU us",
    "load_cpu_us": "load CPU us",
    "rss_mib": "RSS MiB",
    "rss_growth_mib": "RSS growth MiB",
}
"""What is shown of a measurement, and its heading."""


async def _carry(way: _Way, named: _Named, chunk_count: int, broker: BrokerProcess) -> Mapping[str, float]:
    load = Load(named.data, commands=(COMMAND,))
    stream = ChunkStreams()
    senders: list[Peer] = []
    if way.make_sender is not None:
        senders += [way.make_sender(load, stream, f"w{index + 1}") for index in range(named.stream_count)]
    receivers = [way.make_receiver(load, stream) for _ in range(named.stream_count)]
    async with opened(senders, broker.addresses.workers), opened(receivers, broker.addresses.requesters):
        await _run(stream, receivers, max(1, chunk_count // 10))  # warm-up
        with no_collections():
            rss_bytes = broker.rss_bytes()
            before = Clocks.of(broker)
            await _run(stream, receivers, chunk_count)
            passed = Clocks.of(broker).since(before)
    count = chunk_count * named.stream_count
    return {
        "mib_per_s": count * len(named.data) / passed.wall_s / 2**20,
        "chunks_per_s": count / passed.wall_s,
        "broker_cpu_us": passed.broker_s / count * 1e6,
        "load_cpu_us": passed.load_s / count * 1e6,
        "rss_mib": broker.rss_bytes() / 2**20,
        "rss_growth_mib": (broker.rss_bytes() - rss_bytes) / 2**20,
        "other_cores": passed.other_cores,
    }


async def _run(stream: ChunkStreams, receivers: Sequence[Receiver], chunk_count: int) -> None:
    """One stream of so many chunks on each connection, all at once."""
    stream.await_more(len(receivers))
    for receiver in receivers:
        receiver.start(chunk_count)
    await stream.until_ended(STREAM_TIMEOUT_S)


def _measure(a_round: Round, report: Report) -> None:
    for named in NAMED:
        chunk_count = max(10, round(named.chunk_count * a_round.extent.requests_share / named.stream_count))
        for way in WAYS if a_round.index % 2 == 0 else WAYS[::-1]:
            if way.name != TASKFERRY and named.beside != named.name:
                continue
            run = partial(_carry, way, named, chunk_count)
            shown = run_beside(way.make_program(a_round.taskferry), a_round.cores, run)
            report({"stream": named.name, "way": way.name}, shown)
            a_round.note(
                f"{named.name}  {way.name}: {shown['chunks_per_s']:,.0f} chunks/s, {shown['mib_per_s']:,.0f} MiB/s, "
                f"{shown['broker_cpu_us']:.1f} us CPU (load {shown['load_cpu_us']:.1f} us), memory "
                f"{shown['rss_growth_mib']:+.1f} MiB, {shown['other_cores']:.2f} other cores busy"
            )


def _tables(results: SectionResults) -> list[Table]:
    named = [BY_NAME[str(name)] for name in results.cases("stream") if name in BY_NAME]
    return [_ratios(results, named), *(_absolute(results, one) for one in named)]


def _ratios(results: SectionResults, named: Sequence[_Named]) -> Table:
    rows = []
    for one in named:
        own = results.row(stream=one.name, way=TASKFERRY)
        if own is not None:
            rows.append(
                (
                    one.name,
                    one.meaning,
                    *(
                        ratio(own.median(figure), results.median(figure, stream=one.beside, way=way))
                        for way in (TWO_HOPS, ONE_HOP)
                        for figure in ("chunks_per_s", "broker_cpu_us")
                    ),
                )
            )
    headings = (
        "stream",
        "what",
        *(f"{figure} / {way}" for way in (TWO_HOPS, ONE_HOP) for figure in ("chunks/s", "CPU")),
    )
    return Table("Taskferry's figures as multiples of a bare link's", headings, rows, text_columns=2)


def _absolute(results: SectionResults, named: _Named) -> Table:
    rows = [
        (
            str(row.case["way"]),
            *(number(row.median(figure)) for figure in FIGURES),
            span(row.figures["chunks_per_s"]),
            number(row.median("other_cores")),
        )
        for row in results.rows
        if row.case["stream"] == named.name
    ]
    headings = ("way", *FIGURES.values(), "chunks/s (min..max)", "other cores")
    return Table(f"{named.name}: {named.meaning}", headings, rows)


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """Bars of the rate of 64 KiB chunks, by stream and way."""
    rows = [row for row in results.rows if row.case["stream"] != "small"]
    names = [f"{row.case['stream']}, {row.case['way']}" for row in rows]
    axes[0].barh(names, [row.median("mib_per_s") for row in rows])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("MiB/s")


SECTION: Final = Section(
    name="streams",
    title="Streams of chunks",
    meaning=(
        'A handler\'s chunks, from one connection to another, with `"stream": "credit"`: the requester says what it '
        "has taken, once for all that it has read together. Beside it the same bytes over bare TCP links with the same "
        "window (64 chunks, 256 KiB), and credit for them in the same way. One hop: a program on the broker's core "
        "sends them straight to the receiver. Two hops: from the load over a program on the broker's core, which "
        "passes on what it reads, to the load, as the broker has to; the load then does both ends' work on one core. "
        "CPU us is per chunk, and that of the program on the broker's core. RSS growth is from the end of the warm-up "
        "to the end of up to 1 GiB."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    rounds_count_max=ROUNDS_COUNT_MAX,
)
