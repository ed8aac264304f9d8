"""The results: medians over the rounds, ratios, the table and the JSON file.

Knows figures and their names; knows nothing of how they came about.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .load import Load
from .measurement import Measurement

_HEADINGS = (
    "data",
    "client writes",
    "broker",
    "CPU us/request",
    "(min..max)",
    "ratio",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "RSS MiB",
    "load CPU us",
    "other cores",
)


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds, one or more, of one load on one broker."""

    load: Load
    broker: str
    rounds: Sequence[Measurement]

    def median(self) -> Measurement:
        """The median of each figure by itself."""
        by_figure = {name: [asdict(one)[name] for one in self.rounds] for name in asdict(self.rounds[0])}
        return Measurement(**{name: median(values) for name, values in by_figure.items()})


def cpu_ratio(result: Result, results: Sequence[Result]) -> float | None:
    """CPU per request as a multiple of the last broker's under the same load; None for that broker itself."""
    baseline = [other for other in results if other.load == result.load][-1]
    if baseline is result:
        return None
    return result.median().broker_cpu_us / baseline.median().broker_cpu_us


def table(results: Sequence[Result]) -> str:
    """A Markdown table, padded so that it reads as well on a terminal."""
    rows = [_HEADINGS, *(_row(result, results) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["| " + " | ".join(_aligned(row, widths)) + " |" for row in rows]
    rule = [("-" * width if column < 3 else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """The same as JSON values, every round included."""
    return {
        "machine": machine(),
        "results": [
            {
                "data_bytes": len(result.load.data),
                "mode": result.load.mode,
                "request_count": result.load.request_count,
                "broker": result.broker,
                "median": asdict(result.median()),
                "broker_cpu_ratio": cpu_ratio(result, results),
                "rounds": [asdict(one) for one in result.rounds],
            }
            for result in results
        ],
    }


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "system": platform.platform(),
        "processor": _processor_name(),
        "core_count": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _row(result: Result, results: Sequence[Result]) -> tuple[str, ...]:
    figures = result.median()
    cpu_us = [one.broker_cpu_us for one in result.rounds]
    ratio = cpu_ratio(result, results)
    return (
        _size(len(result.load.data)),
        result.load.mode,
        result.broker,
        f"{figures.broker_cpu_us:.2f}",
        f"{min(cpu_us):.2f}..{max(cpu_us):.2f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{figures.requests_per_s:,.0f}",
        f"{figures.p50_ms:.2f}",
        f"{figures.p99_ms:.2f}",
        f"{figures.rss_mib:.1f}",
        f"{figures.load_cpu_us:.2f}",
        f"{figures.other_cores:.2f}",
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if column < 3 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _size(size_bytes: int) -> str:
    return f"{size_bytes} B" if size_bytes < 1024 else f"{size_bytes / 1024:.3g} KiB"


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
