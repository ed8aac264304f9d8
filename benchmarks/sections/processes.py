"""What a second broker process would gain on the same machine: the most that any sharding could reach.

Two brokers that share nothing, each with its own requesters and workers, are what `--processes 2` would be if handing
a request over cost nothing and no request ever had to be.
"""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

from ..contenders import TASKFERRY
from ..cores import Cores
from ..formats import number, ratio, span
from ..loads import BY_NAME
from ..measurement import Measurement, measure
from ..results import SectionResults
from .section import Report, Round, Section, Table

LOAD: Final = BY_NAME["saturated-joined"].load
"""The load that brings the broker nearest to a full core with the least work elsewhere."""

ONE: Final = "one broker"
TWO: Final = "two brokers that share nothing"
ANYWHERE: Final = Cores(broker=None, load=None)
"""Nothing is pinned: where the system puts four processes on two cores is part of the answer."""


def _measure(a_round: Round, report: Report) -> None:
    load = LOAD.shortened(a_round.extent.requests_share)
    for name, count in ((ONE, 1), (TWO, 2)):
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
            running = [pool.submit(measure, a_round.taskferry, load, ANYWHERE) for _ in range(count)]
            measured = [one.result() for one in running]
        figures = _together(measured)
        report({"brokers": name}, figures)
        a_round.note(f"{name}: {figures['requests_per_s']:,.0f} requests/s")


def _together(measured: Sequence[Measurement]) -> dict[str, float]:
    count = len(measured)
    return {
        "requests_per_s": sum(one.requests_per_s for one in measured),
        "broker_cpu_us": sum(one.broker_cpu_us for one in measured) / count,
        "load_cpu_us": sum(one.load_cpu_us for one in measured) / count,
        "p99_ms": max(one.p99_ms for one in measured),
    }


def _tables(results: SectionResults) -> list[Table]:
    one = results.median("requests_per_s", brokers=ONE)
    rows = [
        (
            str(row.case["brokers"]),
            ratio(row.median("requests_per_s"), one),
            number(row.median("requests_per_s")),
            span(row.figures["requests_per_s"]),
            number(row.median("broker_cpu_us")),
            number(row.median("load_cpu_us")),
            number(row.median("p99_ms")),
        )
        for row in results.rows
    ]
    headings = ("brokers", "/ one", "requests/s", "(min..max)", "broker CPU us", "load CPU us", "p99 ms")
    return [Table("Requests per second, all brokers together", headings, rows)]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """One bar each."""
    axes[0].barh(
        [str(row.case["brokers"]) for row in results.rows],
        [row.median("requests_per_s") for row in results.rows],
    )
    axes[0].invert_yaxis()
    axes[0].set_xlabel(f"requests/s of {TASKFERRY}, together")


SECTION: Final = Section(
    name="processes",
    title="A second broker process on the same machine",
    meaning=(
        "Should a broker that outgrows its core spread over processes that share its ports (SO_REUSEPORT)? "
        "This measures the most that could gain: two brokers that share nothing, each with its own load, none pinned. "
        "A real one would gain less: every request whose worker is connected to the other process is decoded, written "
        "and read once more in each direction, which costs at least a whole tcp floor (see "
        "[what a request costs](#cost)), and with two processes that is every second request; and no process "
        "would know all in-flight counts, which exact balancing depends on. **Decision: not built.** On "
        "two cores the clients need what the broker leaves, so there is little to gain; on a machine with "
        "more, several brokers on different ports, with workers that connect to each of them, gain all of it "
        "without any hand-over."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
)
