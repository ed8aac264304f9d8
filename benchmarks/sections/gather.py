"""Gathers: how long one takes over many workers, and what it costs the broker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ..broker_process import BrokerProcess
from ..file_limit import files_count_max
from ..formats import number, span
from ..load import Load
from ..measurement import Clocks, figures, no_collections, opened, run_stream
from ..payload import SMALLEST
from ..request_stream import RequestStream
from ..results import SectionResults
from ..running import run_beside
from ..taskferry_gather import TaskferryGatherer
from ..taskferry_peers import TaskferryWorker
from .section import Report, Round, Section, Table

COUNTS: Final = (100, 1_000)
QUICK_COUNTS: Final = (2, 5)
# Far more than what the load has open beside the connections.
OTHER_FILES_COUNT: Final = 200
ITEM_COUNT: Final = 100_000
"""Of all gathers of one case together."""

AT_ONCE: Final = "all at once"


@dataclass(frozen=True, slots=True)
class _Way:
    """`options`: what is sent with the request."""

    name: str
    options: Mapping[str, Any]


WAYS: Final = (
    _Way(AT_ONCE, {"gather": {}}),
    _Way("a tenth at a time", {"gather": {"batch": 0.1}}),
    _Way("item by item", {"gather": {}, "stream": True}),
)

FIGURES: Final = {
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "item_cpu_us": "CPU us per worker",
    "item_load_cpu_us": "load CPU us per worker",
    "rss_mib": "RSS MiB",
    "other_cores": "other cores",
}
"""What is shown of a measurement, and its heading."""


async def _gather(
    worker_count: int, gather_count: int, way: _Way, broker: BrokerProcess
) -> Mapping[str, float]:
    load = Load(SMALLEST, worker_count=worker_count, worker_concurrency=1)
    stream = RequestStream()
    workers = [TaskferryWorker(load, stream, f"w{index + 1}") for index in range(worker_count)]
    gatherer = TaskferryGatherer(load, stream, way.options)
    async with opened(workers, broker.addresses.workers), opened([gatherer], broker.addresses.requesters):
        await run_stream(stream, [gatherer], gather_count // 10 + 1)  # warm-up
        with no_collections():
            before = Clocks.of(broker)
            await run_stream(stream, [gatherer], gather_count)
            passed = Clocks.of(broker).since(before)
        measured = figures(passed, stream, gather_count, broker)
    return {
        "p50_ms": measured.p50_ms,
        "p99_ms": measured.p99_ms,
        "item_cpu_us": measured.broker_cpu_us / worker_count,
        "item_load_cpu_us": measured.load_cpu_us / worker_count,
        "rss_mib": measured.rss_mib,
        "other_cores": measured.other_cores,
    }


def _measure(a_round: Round, report: Report) -> None:
    for count in _counts(a_round):
        gather_count = max(2, round(ITEM_COUNT * a_round.extent.requests_share / count))
        for way in WAYS:
            shown = run_beside(a_round.taskferry, a_round.cores, partial(_gather, count, gather_count, way))
            report({"workers": count, "way": way.name}, shown)
            a_round.note(
                f"{count:,} workers, {way.name}: p50 {shown['p50_ms']:.1f} ms, p99 {shown['p99_ms']:.1f} ms, "
                f"{shown['item_cpu_us']:.1f} us CPU per worker (load {shown['item_load_cpu_us']:.1f} us), "
                f"{shown['other_cores']:.2f} other cores busy"
            )


def _counts(a_round: Round) -> list[int]:
    wanted = COUNTS if COUNTS[-1] <= a_round.extent.count_max else QUICK_COUNTS
    possible = files_count_max() - OTHER_FILES_COUNT
    if wanted[-1] > possible:
        a_round.note(f"the system limits a process to {possible} connections: {wanted[-1]} are not measured")
    return [count for count in wanted if count <= possible]


def _tables(results: SectionResults) -> list[Table]:
    rows = [
        (
            f"{row.case['workers']:,}",
            str(row.case["way"]),
            *(number(row.median(figure)) for figure in FIGURES),
            span(row.figures["p99_ms"]),
        )
        for row in results.rows
    ]
    headings = ("workers", "how", *FIGURES.values(), "p99 (min..max)")
    return [Table("Gathers", headings, rows, text_columns=2)]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """p50 and p99 by case."""
    names = [f"{row.case['workers']:,} workers, {row.case['way']}" for row in results.rows]
    for figure in ("p50_ms", "p99_ms"):
        axes[0].plot([row.median(figure) for row in results.rows], names, "o", label=FIGURES[figure])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("ms from the request to its answer")
    axes[0].legend()


SECTION: Final = Section(
    name="gather",
    title="Gathers over many workers",
    meaning=(
        f"One requester asks all workers, and again when it has the answer; each worker is a connection of its own "
        f"and answers at once with {len(SMALLEST)} bytes. Latency is from the request to its response, which has all "
        "items or follows them. The load answers for all workers, on one core."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
)
