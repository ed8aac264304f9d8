"""A metric family: its name, type, labels and help, and how its rows are read. Knows no text formats."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..core.measures.exemplars import Exemplars
from ..core.measures.histogram import Histogram
from ..read_model import Subjects

LabelValues = tuple[str, ...]
"""The values of a row's labels, in the order of its family's."""


@dataclass(frozen=True, slots=True)
class NumberFamily:
    """One number for each row. `name` is that of the samples, with `_total` or `_info` if the type has one; the rows of
    an info are 1. `labels` are in alphabetical order, as clients write them."""

    name: str
    type: Literal["counter", "gauge", "info"]
    labels: LabelValues
    help: str
    read: Callable[[Subjects], Iterable[tuple[LabelValues, float]]]


@dataclass(frozen=True, slots=True)
class HistogramFamily:
    """One histogram of seconds for each row, and exemplars for its buckets if there are any."""

    name: str
    labels: LabelValues
    help: str
    read: Callable[[Subjects], Iterable[tuple[LabelValues, Histogram, Exemplars | None]]]

    @property
    def type(self) -> str:
        return "histogram"


Family = NumberFamily | HistogramFamily


def total(count: float) -> tuple[tuple[LabelValues, float]]:
    """The one row of a family without labels."""
    return (((), count),)
