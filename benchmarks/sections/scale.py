"""What a request costs as workers, requesters or requests in flight grow in number.

The floor, on the same points, shows which part of a slope is the kernel's and the event loop's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..contenders import TASKFERRY
from ..formats import number, ratio
from ..load import Load
from ..measurement import measure
from ..payload import SIZE_BYTES_MIN, json_data
from ..results import SectionResults
from .section import Report, Round, Section, Table

FLOOR: Final = "tcp floor"
# As many as the loads of `cost` have in flight, so that their figures are comparable.
IN_FLIGHT_COUNT: Final = 128
REQUESTS_COUNT: Final = 10_000
_DATA: Final = json_data(SIZE_BYTES_MIN, "records")


@dataclass(frozen=True, slots=True)
class Point:
    """One load, as a point on one axis."""

    axis: str
    count: int
    load: Load


def _load(requester_count: int, in_flight_count: int, worker_count: int) -> Load:
    # One worker alone could take everything in flight: nothing waits, whatever the axis.
    return Load(
        _DATA,
        request_count=max(REQUESTS_COUNT, in_flight_count),
        warm_up_count=max(REQUESTS_COUNT // 10, in_flight_count),
        requester_count=requester_count,
        in_flight_count_per_requester=max(1, in_flight_count // requester_count),
        worker_count=worker_count,
        worker_concurrency=in_flight_count,
    )


POINTS: Final = (
    *(Point("workers", count, _load(8, IN_FLIGHT_COUNT, count)) for count in (1, 4, 100, 1_000, 2_000)),
    *(
        Point("requesters", count, _load(count, max(IN_FLIGHT_COUNT, count), 4))
        for count in (1, 8, 128, 2_000)
    ),
    *(Point("in flight", count, _load(min(8, count), count, 4)) for count in (1, 16, 128, 1_024, 8_192)),
)
"""With more requesters than requests otherwise in flight, each has one: the line `in flight` shows the cost of that."""


def _measure(a_round: Round, report: Report) -> None:
    contenders = [one for one in a_round.in_turn() if one.name in (TASKFERRY, FLOOR)]
    for point in POINTS:
        if point.count > a_round.extent.count_max:
            continue
        load = point.load.shortened(a_round.extent.requests_share)
        for contender in contenders:
            measured = measure(contender, load, a_round.cores)
            case: dict[str, str | int] = {"axis": point.axis, "count": point.count, "broker": contender.name}
            report(case, asdict(measured))
            a_round.note(
                f"{point.count} {point.axis}  {contender.name}: {measured.broker_cpu_us:.2f} us CPU per request, "
                f"{measured.other_cores:.2f} other cores busy"
            )


def _tables(results: SectionResults) -> list[Table]:
    return [_table(results, str(axis)) for axis in results.cases("axis")]


def _table(results: SectionResults, axis: str) -> Table:
    counts = _counts(results, axis)
    base = next((count for count in BASES[axis] if count in counts), counts[0])
    rows = []
    for count in counts:
        figures = {
            broker: {
                figure: results.median(figure, axis=axis, count=count, broker=broker)
                for figure in ("broker_cpu_us", "p50_ms", "p99_ms", "rss_mib")
            }
            for broker in (TASKFERRY, FLOOR)
        }
        bases = {
            broker: results.median("broker_cpu_us", axis=axis, count=base, broker=broker)
            for broker in (TASKFERRY, FLOOR)
        }
        own, floor = figures[TASKFERRY], figures[FLOOR]
        rows.append(
            (
                f"{count:,}",
                ratio(own["broker_cpu_us"], bases[TASKFERRY]),
                ratio(floor["broker_cpu_us"], bases[FLOOR]),
                ratio(own["broker_cpu_us"], floor["broker_cpu_us"]),
                number(own["broker_cpu_us"]),
                number(floor["broker_cpu_us"]),
                number(own["p50_ms"]),
                number(own["p99_ms"]),
                number(own["rss_mib"]),
            )
        )
    headings = (
        axis,
        f"CPU / at {base}",
        f"{FLOOR}: CPU / at {base}",
        f"/ {FLOOR}",
        "CPU us",
        f"{FLOOR}: CPU us",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
    )
    return Table(f"CPU per request against the number of {axis}", headings, rows, text_columns=0)


BASES: Final = {"workers": (4,), "requesters": (8,), "in flight": (128, 16)}
"""The point of each axis that the others are compared with, if it was measured."""


def _counts(results: SectionResults, axis: str) -> list[int]:
    return [
        int(row.case["count"])
        for row in results.rows
        if row.case["axis"] == axis and row.case["broker"] == TASKFERRY
    ]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """CPU per request over each axis."""
    for place, axis in zip(axes, results.cases("axis"), strict=False):
        counts = _counts(results, str(axis))
        for broker in (TASKFERRY, FLOOR):
            values = [
                results.median("broker_cpu_us", axis=axis, count=count, broker=broker) or float("nan")
                for count in counts
            ]
            place.plot(counts, values, marker="o", label=broker)
        place.set_xscale("log")
        place.set_ylim(bottom=0)
        place.set_xlabel(str(axis))
        place.set_ylabel("CPU per request, us")
        place.legend()


SECTION: Final = Section(
    name="scale",
    title="What a request costs as the numbers grow",
    meaning=(
        "Small JSON, one send per message. Few connections bring many messages per read, many bring one each, and "
        "each read is a call to the kernel: the floor, which has no rules at all, grows by that alone. Anything that "
        "Taskferry grows by beyond it is its own."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    plots_count=3,
)
