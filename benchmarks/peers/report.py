"""The results beside the peers: medians over the rounds, the ratios that have a target, tables, JSON.

Knows figures and their names; knows nothing of how they came about.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from ..load import Load
from ..machine import about as machine
from ..measurement import Measurement
from .end_to_end.closed_loop import Figures, Plan
from .subject import Round, Subject, measured


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio of two medians, and what it is to be: at most `target`, or at least."""

    name: str
    value: float
    bound: str
    target: float

    @property
    def is_met(self) -> bool:
        """True on the bound itself."""
        return self.value <= self.target if self.bound == "at most" else self.value >= self.target


Lean = Sequence[Subject[Measurement]]
EndToEnd = Sequence[Subject[Figures]]


def targets(lean: Lean, end_to_end: EndToEnd) -> list[Target]:
    """The ratios that these results allow; those whose peer was not measured are left out."""
    return [*_lean_targets(lean), *_end_to_end_targets(end_to_end)]


def _lean_targets(lean: Lean) -> list[Target]:
    found: list[Target] = []
    for mode, bound in (("each", 1.0), ("joined", 1.25)):
        results = {result.name: result for result in lean if result.detail == mode}
        if {"taskferry", "nats-server"} <= results.keys():
            value = _ratio(results["taskferry"], results["nats-server"], "broker_cpu_us")
            found.append(
                Target(f"broker CPU, writes {mode}: taskferry / nats-server", value, "at most", bound)
            )
    return found


def _end_to_end_targets(end_to_end: EndToEnd) -> list[Target]:
    results = {result.name: result for result in end_to_end}
    taskferry, nats = results.get("taskferry"), results.get("nats-py")
    blocking = results.get("taskferry-blocking")
    queues = [result for result in end_to_end if result.detail == "redis task queue"]
    found: list[Target] = []
    if taskferry is None:
        return found
    if nats is not None:
        round_trip = _ratio(taskferry, nats, "round_trip_p50_ms")
        found.append(Target("round trip p50: taskferry / nats-py", round_trip, "at most", 0.5))
        throughput = _ratio(taskferry, nats, "requests_per_s")
        found.append(Target("requests/s: taskferry / nats-py", throughput, "at least", 1.3))
    if queues:
        best = max(queues, key=lambda queue: median_of(queue, "requests_per_s"))
        throughput = _ratio(taskferry, best, "requests_per_s")
        name = f"requests/s: taskferry / {best.name}, the best Redis task queue"
        found.append(Target(name, throughput, "at least", 10.0))
    if blocking is not None:
        throughput = _ratio(blocking, taskferry, "requests_per_s")
        found.append(Target("requests/s: blocking from 16 threads / async", throughput, "at least", 0.5))
    return found


def _ratio(one: Subject[Round], other: Subject[Round], figure: str) -> float:
    return median_of(one, figure) / median_of(other, figure)


def median_of(subject: Subject[Round], figure: str) -> float:
    """The median of one figure over the rounds."""
    return float(median(getattr(one, figure) for one in subject.rounds))


def _medians(subject: Subject[Round]) -> dict[str, float]:
    return {figure: median_of(subject, figure) for figure in asdict(subject.rounds[0])}


def tables(lean: Lean, end_to_end: EndToEnd) -> str:
    """Markdown, padded so that it reads as well on a terminal; ratios first. Who has no rounds is left out."""
    lean, end_to_end = measured(lean), measured(end_to_end)
    parts = [_targets_table(targets(lean, end_to_end)), _lean_table(lean), _end_to_end_table(end_to_end)]
    return "\n\n".join(part for part in parts if part)


def _targets_table(found: Sequence[Target]) -> str:
    rows = [
        (one.name, f"{one.value:.2f}", f"{one.bound} {one.target:g}", "yes" if one.is_met else "no")
        for one in found
    ]
    return _table(("ratio", "measured", "target", "met"), rows, text_count=1)


def _lean_table(lean: Lean) -> str:
    own = {result.detail: result for result in lean if result.name == "taskferry"}
    rows = [
        (
            result.name,
            result.detail,
            f"{_ratio(result, own[result.detail], 'broker_cpu_us'):.2f}" if result.detail in own else "",
            f"{median_of(result, 'broker_cpu_us'):.2f}",
            _span([one.broker_cpu_us for one in result.rounds], ".2f"),
            f"{median_of(result, 'requests_per_s'):,.0f}",
            f"{median_of(result, 'p50_ms'):.2f}",
            f"{median_of(result, 'p99_ms'):.2f}",
            f"{median_of(result, 'rss_mib'):.1f}",
            f"{median_of(result, 'load_cpu_us'):.2f}",
            f"{median_of(result, 'other_cores'):.2f}",
        )
        for result in sorted(lean, key=lambda result: (result.detail, median_of(result, "broker_cpu_us")))
    ]
    headings = (
        *("broker", "client writes", "CPU x taskferry", "CPU us/request", "(min..max)", "requests/s"),
        *("p50 ms", "p99 ms", "RSS MiB", "load CPU us", "other cores"),
    )
    return _table(headings, rows, text_count=2)


def _end_to_end_table(end_to_end: EndToEnd) -> str:
    own = next((result for result in end_to_end if result.name == "taskferry"), None)
    rows = [
        (
            result.name,
            result.detail,
            f"{_ratio(result, own, 'round_trip_p50_ms'):.2f}" if own else "",
            f"{_ratio(result, own, 'requests_per_s'):.3f}" if own else "",
            f"{median_of(result, 'round_trip_p50_ms'):.3f}",
            f"{median_of(result, 'round_trip_p99_ms'):.3f}",
            f"{median_of(result, 'requests_per_s'):,.0f}",
            _span([one.requests_per_s for one in result.rounds], ",.0f"),
            f"{median_of(result, 'in_flight_count'):.0f}",
        )
        for result in sorted(end_to_end, key=lambda result: -median_of(result, "requests_per_s"))
    ]
    headings = (
        *("peer", "kind", "p50 x taskferry", "requests/s x taskferry", "round trip p50 ms", "p99 ms"),
        *("requests/s", "(min..max)", "in flight"),
    )
    return _table(headings, rows, text_count=2)


def as_json(lean: Lean, end_to_end: EndToEnd, *, load: Load, plan: Plan) -> dict[str, Any]:
    """The same as JSON values, every round included, and who has none; benchmarks/README.md tells the shape."""
    ratios = targets(measured(lean), measured(end_to_end))
    subjects: list[Subject[Measurement] | Subject[Figures]] = [*lean, *end_to_end]
    return {
        "peers": {
            "machine": machine(),
            "ratios": [{**asdict(one), "is_met": one.is_met} for one in ratios],
            "lean": [
                {
                    "broker": subject.name,
                    "mode": subject.detail,
                    "versions": subject.versions,
                    "data_bytes": len(load.data),
                    "request_count": load.request_count,
                    "median": _medians(subject),
                    "rounds": [asdict(one) for one in subject.rounds],
                }
                for subject in measured(lean)
            ],
            "end_to_end": [
                {
                    "name": subject.name,
                    "kind": subject.detail,
                    "versions": subject.versions,
                    "plan": asdict(plan),
                    "median": _medians(subject),
                    "rounds": [asdict(one) for one in subject.rounds],
                }
                for subject in measured(end_to_end)
            ],
            "left_out": [
                {"name": subject.name, "detail": subject.detail, "reason": subject.absent or subject.broken}
                for subject in subjects
                if subject.absent is not None or subject.broken is not None
            ],
        }
    }


def _span(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}}..{max(values):{form}}"


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], text_count: int) -> str:
    """The first `text_count` columns are words, to the left; the others are figures, to the right."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    rule = tuple(
        "-" * width if column < text_count else "-" * (width - 1) + ":" for column, width in enumerate(widths)
    )
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if column < text_count else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (headings, rule, *rows)
    )
