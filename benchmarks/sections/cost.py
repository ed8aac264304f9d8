"""What a request costs: every named load on the broker, on the floors and on the peers, in the same round."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from ..contenders import TASKFERRY
from ..formats import number, ratio, span
from ..loads import BY_NAME, LOADS, NamedLoad
from ..measurement import measure
from ..results import SectionResults
from .section import Report, Round, Section, Table

FIGURES: Final = {
    "broker_cpu_us": "CPU us",
    "requests_per_s": "requests/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "rss_mib": "RSS MiB",
}
"""What is shown of a measurement, and its heading."""

QUICK_LOADS: Final = ("saturated-joined", "mixed-encodings", "20-commands")
"""Between them they take every path of the load generator."""


def _measure(a_round: Round, report: Report) -> None:
    for named in _chosen(a_round):
        load = named.load.shortened(a_round.extent.requests_share)
        for contender in a_round.in_turn():
            if contender.name != TASKFERRY and named.beside != named.name:
                continue
            measured = measure(contender, load, a_round.cores)
            report({"load": named.name, "broker": contender.name}, asdict(measured))
            a_round.note(
                f"{named.name}  {contender.name}: {measured.broker_cpu_us:.2f} us CPU per request, "
                f"{measured.other_cores:.2f} other cores busy"
            )


def _chosen(a_round: Round) -> list[NamedLoad]:
    names = a_round.load_names
    if names is None:
        names = QUICK_LOADS if a_round.extent.name == "quick" else tuple(BY_NAME)
    return [one for one in LOADS if one.name in names]


def _tables(results: SectionResults) -> list[Table]:
    return [
        _cpu_ratios(results),
        *(_ratios(results, other) for other in _others(results)),
        *(_absolute(results, named) for named in _loads(results)),
    ]


def _others(results: SectionResults) -> list[str]:
    return [str(name) for name in results.cases("broker") if name != TASKFERRY]


def _loads(results: SectionResults) -> list[NamedLoad]:
    return [BY_NAME[str(name)] for name in results.cases("load") if name in BY_NAME]


def _cpu_ratios(results: SectionResults) -> Table:
    others = _others(results)
    rows = []
    for named in _loads(results):
        cpu_us = results.median("broker_cpu_us", load=named.name, broker=TASKFERRY)
        bases = [results.median("broker_cpu_us", load=named.beside, broker=other) for other in others]
        rows.append((named.name, named.meaning, number(cpu_us), *(ratio(cpu_us, base) for base in bases)))
    return Table(
        "The broker's CPU time per request in microseconds, and as a multiple of what the same load costs the others",
        ("load", "what", "CPU us", *(f"/ {other}" for other in others)),
        rows,
        text_columns=2,
    )


def _ratios(results: SectionResults, other: str) -> Table:
    rows = []
    for named in _loads(results):
        pairs = [
            (
                results.median(figure, load=named.name, broker=TASKFERRY),
                results.median(figure, load=named.beside, broker=other),
            )
            for figure in FIGURES
        ]
        rows.append((named.name, *(ratio(value, base) for value, base in pairs)))
    return Table(f"Every figure as a multiple of that of {other}", ("load", *FIGURES.values()), rows)


def _absolute(results: SectionResults, named: NamedLoad) -> Table:
    rows = [
        (
            str(row.case["broker"]),
            number(row.median("broker_cpu_us")),
            span(row.figures["broker_cpu_us"]),
            *(number(row.median(figure)) for figure in (*list(FIGURES)[1:], "load_cpu_us", "other_cores")),
        )
        for row in results.rows
        if row.case["load"] == named.name
    ]
    headings = ("broker", "CPU us", "(min..max)", *list(FIGURES.values())[1:], "load CPU us", "other cores")
    return Table(f"{named.name}: {named.meaning}", headings, rows)


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """Bars of CPU time per request for each load that all have run, as multiples of the first floor's."""
    brokers = [TASKFERRY, *_others(results)]
    base = brokers[min(1, len(brokers) - 1)]
    names = [named.name for named in _loads(results) if named.beside == named.name]
    height = 0.8 / len(brokers)
    for turn, broker in enumerate(brokers):
        values = [
            (results.median("broker_cpu_us", load=name, broker=broker) or 0.0)
            / (results.median("broker_cpu_us", load=name, broker=base) or 1.0)
            for name in names
        ]
        axes[0].barh([place + turn * height for place in range(len(names))], values, height, label=broker)
    axes[0].set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
    axes[0].invert_yaxis()
    axes[0].set_xlabel(f"CPU per request, as a multiple of that of {base}")
    axes[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


SECTION: Final = Section(
    name="cost",
    title="What a request costs the broker",
    meaning=(
        "One broker process on one core, the load on another. A floor is a relay that does the least a broker can do: "
        "`tcp` cuts length-prefixed messages from a stream, `websockets` and `picows` are bare relays on these "
        "libraries. If a load differs from another only in something that Taskferry alone has (encodings, commands), "
        "the others' figures are those of that other load."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
)
