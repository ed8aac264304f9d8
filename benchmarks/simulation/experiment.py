"""What an experiment is: parameters, a pure run of one seed, and the bounds that every seed must keep.

Independent of any one experiment, and of how results are shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple

INFINITY: Final = float("inf")


class Parameter(NamedTuple):
    """A value that was chosen, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bound:
    """`low <= figure <= high` must hold for every seed. A figure with neither is shown, and judged by the reader."""

    figure: str
    expected: str
    low: float = -INFINITY
    high: float = INFINITY

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def text(self) -> str:
        """The bound as people write it."""
        match self.low > -INFINITY, self.high < INFINITY:
            case True, True if self.low == self.high:
                return f"= {number(self.low)}"
            case True, True:
                return f"{number(self.low)} to {number(self.high)}"
            case True, False:
                return f">= {number(self.low)}"
            case False, True:
                return f"<= {number(self.high)}"
        return ""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one seed: `figures` by name, which bounds and tables refer to, and `series` of numbers to draw."""

    figures: dict[str, float]
    series: dict[str, list[float]] = field(default_factory=dict)


class Table(NamedTuple):
    """Figures without a bound, for the reader to compare."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """`run(seed, scale)` depends on nothing else; a `scale` below 1 makes a shorter run with wider scatter,
    which may leave out figures that have no bound.

    `plot(axes, results)` draws on as many matplotlib axes as `plots_count`; it is the only part that needs matplotlib,
    and is passed its axes.
    """

    name: str
    title: str
    meaning: str
    parameters: Sequence[Parameter]
    run: Callable[[int, float], Result]
    bounds: Sequence[Bound]
    plot: Callable[[Sequence[Any], Sequence[Result]], None]
    plots_count: int = 1
    tables: Callable[[Sequence[Result]], Sequence[Table]] = lambda results: ()


def broken(bounds: Sequence[Bound], result: Result) -> list[str]:
    """One clear line for each bound that a seed's result does not keep."""
    return [
        f"{bound.figure}: {number(result.figures[bound.figure])}, must be {bound.text}"
        for bound in bounds
        if bound.text and not bound.holds(result.figures[bound.figure])
    ]


def values_of(results: Sequence[Result], figure: str) -> list[float]:
    """One figure over all seeds."""
    return [result.figures[figure] for result in results]


def spread(results: Sequence[Result], figure: str) -> str:
    """Median and range of a figure over the seeds, as a table shows it."""
    values = values_of(results, figure)
    low, high = min(values), max(values)
    if number(low) == number(high):
        return number(low)
    return f"{number(median(values))} ({number(low)}..{number(high)})"


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share`, in [0, 1), of the ordered values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value != value or abs(value) == INFINITY:  # noqa: PLR0124  the definition of NaN
        return "none"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
