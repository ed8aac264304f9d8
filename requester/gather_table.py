"""What a person sees of a gather: a table that grows while workers answer, above how many have. Imports rich, which is
slow to load."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..log.printable import printable
from . import output
from .answers import GatheredItem


@contextmanager
def live_table() -> Iterator[Callable[[GatheredItem], None]]:
    """Within the block, the function that is given adds an item to the table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("worker", style="dim", no_wrap=True)
    table.add_column("result")
    spinner = Spinner("dots", "no answer yet")
    with Live(
        Group(table, spinner), console=Console(), refresh_per_second=10, vertical_overflow="visible"
    ) as live:

        def add(item: GatheredItem) -> None:
            table.add_row(Text(printable(item.worker_id)), _result(item))
            spinner.update(text=f"{table.row_count} answered")

        try:
            yield add
        finally:
            live.update(table)


def _result(item: GatheredItem) -> Text:
    if item.success:
        line = item.data if isinstance(item.data, str) else output.json_line(item.data)
        return Text(printable(line))
    return Text(printable(f"{item.error} [{item.code}]"), style="red")
