"""How any section of results is shown, also one that was measured by another program, such as the peers.

Such a section says what it is in its own `about`, as `title` and `meaning`; its rows are shown as they are.
"""

from collections.abc import Sequence
from typing import Final

from .formats import number
from .results import Results, Row, SectionResults
from .sections.all import BY_NAME, SECTIONS
from .sections.section import Table

SAID: Final = ("title", "meaning")
"""What of a foreign section's `about` is about the section and not about machine and versions."""


def in_order(results: Results) -> list[tuple[str, SectionResults]]:
    """Sections by name: our own in their order, then the others as they came."""
    names = [section.name for section in SECTIONS if section.name in results]
    return [(name, results[name]) for name in (*names, *(name for name in results if name not in BY_NAME))]


def title(name: str, measured: SectionResults) -> str:
    """The heading."""
    return BY_NAME[name].title if name in BY_NAME else str(measured.about.get("title", name))


def meaning(name: str, measured: SectionResults) -> str:
    """What was done, for the reader."""
    return BY_NAME[name].meaning if name in BY_NAME else str(measured.about.get("meaning", ""))


def tables(name: str, measured: SectionResults) -> Sequence[Table]:
    """Ratios first; of a foreign section one table for all rows that tell the same figures of the same kind of case."""
    if name in BY_NAME:
        return BY_NAME[name].tables(measured)
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Row]] = {}
    for row in measured.rows:
        alike.setdefault((tuple(row.case), tuple(row.figures)), []).append(row)
    return [
        Table(
            "",
            (*keys, *figures),
            [
                (*(str(row.case[key]) for key in keys), *(number(row.median(one)) for one in figures))
                for row in rows
            ],
            text_columns=len(keys),
        )
        for (keys, figures), rows in alike.items()
    ]
