"""How the figures that a Python user gets end to end are shown."""

from collections.abc import Sequence
from typing import Any, Final

from ..contenders import TASKFERRY
from ..formats import number, ratio, span
from ..results import Row, SectionResults
from ..sections.section import Presentation, Table
from . import taking_part
from .end_to_end.contenders import END_TO_END

KINDS: Final[dict[str, str]] = {peer.name: peer.kind for peer in END_TO_END}
FIGURES: Final = {
    "requests_per_s": "requests/s",
    "round_trip_p50_ms": "round trip p50 ms",
    "round_trip_p99_ms": "round trip p99 ms",
}
"""What is shown of one peer, and its heading."""


def _tables(results: SectionResults) -> list[Table]:
    return [_ratios(results), _absolute(results), *taking_part.tables(results)]


def _ratios(results: SectionResults) -> Table:
    own = {figure: results.median(figure, peer=TASKFERRY) for figure in FIGURES}
    rows = [
        (*_names(row), *(ratio(own[figure], row.median(figure)) for figure in FIGURES))
        for row in _quickest_first(results)
        if row.case["peer"] != TASKFERRY
    ]
    headings = ("peer", "kind", *FIGURES.values())
    return Table("Taskferry's figures as multiples of each peer's", headings, rows, text_columns=2)


def _absolute(results: SectionResults) -> Table:
    rows = [
        (
            *_names(row),
            number(row.median("requests_per_s")),
            span(row.figures["requests_per_s"]),
            *(number(row.median(figure)) for figure in list(FIGURES)[1:]),
            f"{row.median('in_flight_count'):.0f}",
        )
        for row in _quickest_first(results)
    ]
    headings = ("peer", "kind", "requests/s", "(min..max)", *list(FIGURES.values())[1:], "in flight")
    return Table("Each peer's own", headings, rows, text_columns=2)


def _names(row: Row) -> tuple[str, str]:
    name = str(row.case["peer"])
    return name, KINDS.get(name, "")


def _quickest_first(results: SectionResults) -> list[Row]:
    return sorted(results.rows, key=lambda row: -row.median("requests_per_s"))


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """A point for each peer: the axis is logarithmic, so bars would have no baseline."""
    rows = _quickest_first(results)
    axes[0].plot([row.median("requests_per_s") for row in rows], [str(row.case["peer"]) for row in rows], "o")
    axes[0].invert_yaxis()
    axes[0].set_xscale("log")
    axes[0].set_xlabel("requests/s")


PRESENTATION: Final = Presentation(
    name="peers-end-to-end",
    title="Beside peers: what a Python user gets",
    meaning=(
        "Broker, worker and requester are separate processes, not pinned to cores, with each peer's best-known client; "
        '`{"message": "Hello World"}` is sent to a handler, which returns it. A round trip is measured with one '
        "request in flight, requests/s with the number in the last column, each for a fixed time. A task queue on "
        "Redis guarantees more than an echo needs: its tasks outlive the requester."
    ),
    tables=_tables,
    plot=_plot,
    about_shown=taking_part.ABOUT_SHOWN,
)
