"""Tables that fit the terminal: what a person may want to type, such as a name or an id, is whole, and what is not
essential is left out first. Imports rich, which is slow to load.

Must not know what a table is about.
"""

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 1000
"""Columns if there is no terminal: nothing is cut."""

GAP_WIDTH: Final = 2
"""Columns between two of a table."""

REST_WIDTH_MIN: Final = 14
"""Columns of the last one, unless it needs less."""


class Column(NamedTuple):
    """A column of a table. `rank`: of those that do not fit, the highest leaves first; those of 0 stay, whole."""

    title: str
    cells: Sequence[Text]
    rank: int = 0
    is_number: bool = False

    @property
    def width(self) -> int:
        return max(len(self.title), *(cell.cell_len for cell in self.cells))


def console() -> Console:
    """That of standard output: in the width and colours of the terminal, or as plain text in a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def show(*parts: RenderableType) -> None:
    """Print them, with blank lines between."""
    printed_on = console()
    for number, part in enumerate(parts):
        if number:
            printed_on.print()
        printed_on.print(part)


def fitted(
    columns: Sequence[Column], *, wraps: bool, keeps_words: bool = False, names_missing: bool = False
) -> Table:
    """A table of at least one row that fits. The last column is wrapped or cut, down to REST_WIDTH_MIN, or with
    `keeps_words` to its longest word; the others of rank 0 are whole. `names_missing`: say below it which columns were
    left out."""
    width = console().width
    kept = list(columns)
    words = " ".join(cell.plain for cell in columns[-1].cells).split() if keeps_words else []
    rest_width_min = max(REST_WIDTH_MIN, *map(cell_len, words), 0)
    while len(kept) > 1:
        rest_width = min(kept[-1].width, rest_width_min)
        if sum(column.width + GAP_WIDTH for column in kept[:-1]) + rest_width <= width:
            break
        least = max(kept, key=lambda column: column.rank)
        if not least.rank:
            break
        kept.remove(least)
    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    rest_width = max(1, width - sum(column.width + GAP_WIDTH for column in kept[:-1]))
    for column in kept:
        is_rest = column is columns[-1]
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=not (is_rest and wraps),
            overflow="fold" if is_rest and wraps else "ellipsis",
            min_width=None if is_rest else min(column.width, width),
            max_width=rest_width if is_rest else None,
        )
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*row)
    missing = [column.title for column in columns if column not in kept]
    if missing and names_missing:
        table.caption = f"a wider terminal, or a pipe, shows as well: {', '.join(missing)}"
    return table


def empty(*titles: str) -> Table:
    """A table without rows, which says so."""
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    table.add_row(Text("none", style="dim"))
    return table
