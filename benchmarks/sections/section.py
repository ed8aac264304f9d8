"""What a section is: how its results are shown, and how `python -m benchmarks` measures a round of it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..contenders import TASKFERRY, Contender
from ..cores import Cores
from ..results import SectionResults


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a run: `requests_share` of all requests, counts of anything up to `count_max`, and `seconds_share` of
    all times. A short run shows that everything works; its figures mean little.
    """

    name: str
    requests_share: float
    count_max: int
    seconds_share: float


FULL: Final = Extent("full", 1.0, sys.maxsize, 1.0)
QUICK: Final = Extent("quick", 0.01, 10, 0.02)


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one section. `note` reports progress to the user; `load_names` selects named loads, None leaves
    that to the extent.
    """

    index: int
    contenders: Sequence[Contender]
    cores: Cores
    extent: Extent
    note: Callable[[str], None]
    load_names: Sequence[str] | None = None

    @property
    def taskferry(self) -> Contender:
        """The one that is measured; the others are there for comparison."""
        return next(one for one in self.contenders if one.name == TASKFERRY)

    def in_turn(self) -> list[Contender]:
        """All of them, in reverse order every other round, so that none always runs on the warmer machine."""
        return list(self.contenders if self.index % 2 == 0 else self.contenders[::-1])


Report = Callable[[Mapping[str, str | int], Mapping[str, float]], None]
"""Takes the figures of one case of one round."""


class Table(NamedTuple):
    """Cells as they are shown; the first `text_columns` of them are left-aligned."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """`tables` shows ratios first, `plot` draws on as many matplotlib axes as `plots_count` and is the only part that
    needs it. `tables` also shows the entries of `about` named in `about_shown`.
    """

    name: str
    title: str
    meaning: str
    tables: Callable[[SectionResults], Sequence[Table]]
    plot: Callable[[Sequence[Any], SectionResults], None]
    plots_count: int = 1
    about_shown: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section(Presentation):
    """`measure(round, report)` runs one round. More than `rounds_count_max` rounds would take too long."""

    measure: Callable[[Round, Report], None]
    rounds_count_max: int = sys.maxsize
