"""How the costs of brokers under the same lean load are shown."""

from collections.abc import Sequence
from typing import Any, Final

from ..contenders import TASKFERRY
from ..formats import number, ratio, span
from ..results import Row, SectionResults
from ..sections.section import Presentation, Table
from . import taking_part

FIGURES: Final = {
    "broker_cpu_us": "CPU us",
    "requests_per_s": "requests/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "rss_mib": "RSS MiB",
}
"""What is shown of a measurement, and its heading."""


def _tables(results: SectionResults) -> list[Table]:
    modes = [str(mode) for mode in results.cases("mode")]
    return [
        *(_ratios(results, mode) for mode in modes),
        *(_absolute(results, mode) for mode in modes),
        *taking_part.tables(results),
    ]


def _ratios(results: SectionResults, mode: str) -> Table:
    own = {figure: results.median(figure, broker=TASKFERRY, mode=mode) for figure in FIGURES}
    rows = [
        (str(row.case["broker"]), *(ratio(own[figure], row.median(figure)) for figure in FIGURES))
        for row in _cheapest_first(results, mode)
        if row.case["broker"] != TASKFERRY
    ]
    caption = f"Taskferry's figures as multiples of each broker's, client writes {mode}"
    return Table(caption, ("broker", *FIGURES.values()), rows)


def _absolute(results: SectionResults, mode: str) -> Table:
    rows = [
        (
            str(row.case["broker"]),
            number(row.median("broker_cpu_us")),
            span(row.figures["broker_cpu_us"]),
            *(number(row.median(figure)) for figure in (*list(FIGURES)[1:], "load_cpu_us", "other_cores")),
        )
        for row in _cheapest_first(results, mode)
    ]
    headings = ("broker", "CPU us", "(min..max)", *list(FIGURES.values())[1:], "load CPU us", "other cores")
    return Table(f"Client writes {mode}", headings, rows)


def _cheapest_first(results: SectionResults, mode: str) -> list[Row]:
    rows = [row for row in results.rows if row.case["mode"] == mode]
    return sorted(rows, key=lambda row: row.median("broker_cpu_us"))


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """A bar for each broker and mode."""
    rows = [row for mode in results.cases("mode") for row in _cheapest_first(results, str(mode))]
    names = [f"{row.case['broker']}, {row.case['mode']}" for row in rows]
    axes[0].barh(names, [row.median("broker_cpu_us") for row in rows])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("CPU us per request")


PRESENTATION: Final = Presentation(
    name="peers-lean",
    title="Beside peers: what a request costs each broker",
    meaning=(
        "The small echo of the first section, with the leanest client that each broker's protocol allows, which "
        "does not store the answer. Client writes `each`: one send per message; `joined`: one for all messages of a "
        "read. Redis and NATS pass bytes on; gearmand tracks jobs and workers; RabbitMQ has queues; Taskferry checks "
        "JSON, enforces deadlines, and tracks every request in flight."
    ),
    tables=_tables,
    plot=_plot,
    about_shown=taking_part.ABOUT_SHOWN,
)
