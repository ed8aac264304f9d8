"""Results as data: rows of figures by case, one value per round, medians, and their JSON.

All sections share this form; README.md describes it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import msgspec

FORM: Final = "taskferry-benchmarks-1"
"""The mark of a file of results, so that any other file is recognised."""

DIGITS_COUNT: Final = 6
"""Significant digits of a figure; no clock here is better."""

Case = Mapping[str, str | int]
"""What was measured: `{"load": "serial", "broker": "taskferry"}`. No two rows of a section have the same."""


class ResultsUnreadable(Exception):
    """A file that holds no results. The text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds, one or more, of one case. The values of a figure are in the order of the rounds."""

    case: Case
    figures: Mapping[str, Sequence[float]]

    def median(self, figure: str) -> float:
        """The median over the rounds."""
        return median(self.figures[figure])


@dataclass(frozen=True, slots=True)
class SectionResults:
    """One section: where it was measured, and its rows in the order in which they were added."""

    about: Mapping[str, Any]
    rows: Sequence[Row]

    def row(self, **case: str | int) -> Row | None:
        """The row of exactly this case; None if it was not measured."""
        return next((row for row in self.rows if row.case == case), None)

    def median(self, figure: str, **case: str | int) -> float | None:
        """A figure of that row; None if it was not measured."""
        row = self.row(**case)
        return None if row is None or figure not in row.figures else row.median(figure)

    def cases(self, key: str) -> list[str | int]:
        """The different values of a key of the cases, in order."""
        return list(dict.fromkeys(row.case[key] for row in self.rows if key in row.case))


Results = Mapping[str, SectionResults]
"""Sections by name."""


@dataclass(slots=True)
class Collection:
    """Collects the rounds of a section."""

    about: Mapping[str, Any]
    _figures: dict[tuple[tuple[str, str | int], ...], dict[str, list[float]]] = field(default_factory=dict)

    def add(self, case: Case, figures: Mapping[str, float]) -> None:
        """One round of one case."""
        by_name = self._figures.setdefault(tuple(case.items()), {})
        for name, value in figures.items():
            by_name.setdefault(name, []).append(value)

    def results(self) -> SectionResults:
        """Everything collected so far."""
        rows = [Row(dict(case), figures) for case, figures in self._figures.items()]
        return SectionResults(self.about, rows)


def to_text(results: Results) -> str:
    """The results as JSON text, every round included, one line per row; figures are rounded to DIGITS_COUNT digits."""
    sections = [
        f'{json.dumps(name)}: {{\n"about": {json.dumps(section.about)},\n"rows": [\n{_rows_text(section.rows)}\n]}}'
        for name, section in results.items()
    ]
    return f'{{\n"form": {json.dumps(FORM)},\n"sections": {{\n' + ",\n".join(sections) + "\n}}\n"


def _rows_text(rows: Sequence[Row]) -> str:
    return ",\n".join(
        json.dumps(
            {
                "case": row.case,
                "figures": {
                    name: [float(f"{value:.{DIGITS_COUNT}g}") for value in values]
                    for name, values in row.figures.items()
                },
            }
        )
        for row in rows
    )


def from_text(text: bytes) -> Results:
    """The results of which `to_text` made `text`. Raises ResultsUnreadable."""
    try:
        document = msgspec.json.decode(text, type=_Document)
    except msgspec.DecodeError as error:
        raise ResultsUnreadable(f"no results of benchmarks: {error}") from None
    if document.form != FORM:
        raise ResultsUnreadable(f"results of another form: {document.form}, not {FORM}")
    return document.sections


@dataclass(frozen=True, slots=True)
class _Document:
    form: str
    sections: dict[str, SectionResults]


def merged(several: Iterable[Results]) -> dict[str, SectionResults]:
    """All sections; if one is there twice, the later one counts."""
    together: dict[str, SectionResults] = {}
    for results in several:
        together |= results
    return together
