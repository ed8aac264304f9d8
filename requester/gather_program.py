"""`taskferry gather` and `taskferry broadcast` at work: what is printed where, and the exit code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import click

from ..log.printable import printable
from ..program.exit_codes import TIMEOUT
from . import exit_codes, output
from .answers import GatheredItem
from .client import Requester
from .gather import Gathered

NAMED_COUNT_MAX: Final = 10
"""Workers without an answer that are named: there may be thousands."""


class GatherOrder(NamedTuple):
    """What the command line asks for. `options`: those of Requester.gather."""

    command: str
    data: Any
    options: dict[str, Any]
    as_json: bool


async def run_gather(requester: Requester, order: GatherOrder) -> int:
    """Gather, print each item as it comes, and return the exit code. Raises TaskferryError."""
    with _shown(as_json=order.as_json) as show:
        answer = await requester.gather(order.command, order.data, on_item=show, **order.options)
    if not answer.complete or answer.missing:
        click.echo(printable(_summary(answer)), err=True)
    return _exit_code(answer, is_all=order.options["expect"] == "all")


async def run_broadcast(
    requester: Requester, kind: str, data: Any, options: dict[str, Any], *, as_json: bool
) -> int:
    """Broadcast, print to how many workers it was sent, and return the exit code. Raises TaskferryError."""
    count = await requester.broadcast(kind, data, **options)
    if as_json or not sys.stdout.isatty():
        click.echo(output.json_line({"count": count}))
    else:
        click.echo(f"sent to {count} worker{'' if count == 1 else 's'}")
    return exit_codes.exit_code(None)


def item_line(item: GatheredItem) -> str:
    """An item as JSON on one line."""
    facts: dict[str, Any] = {"worker_id": item.worker_id, "success": item.success}
    if item.success:
        facts["data"] = item.data
    else:
        facts |= {"error": item.error, "code": item.code}
        if item.delivery is not None:
            facts["delivery"] = item.delivery
    return output.json_line(facts)


@contextmanager
def _shown(*, as_json: bool) -> Iterator[Callable[[GatheredItem], None]]:
    """A function that prints an item: into a table that grows, if a person reads it, else as a line."""
    if as_json or not sys.stdout.isatty():
        yield lambda item: click.echo(item_line(item))
        return
    from .gather_table import live_table  # noqa: PLC0415 - rich is slow to import, and a pipe does not need it

    with live_table() as add:
        yield add


def _summary(answer: Gathered) -> str:
    count = len(answer.items) + len(answer.missing)
    state = "complete" if answer.complete else "incomplete"
    line = f"{state}: {len(answer.results)} of {count} workers have succeeded"
    if not answer.missing:
        return line
    named = ", ".join(answer.missing[:NAMED_COUNT_MAX])
    rest = len(answer.missing) - NAMED_COUNT_MAX
    return f"{line}; no answer from {named}" + (f" and {rest} more" if rest > 0 else "")


def _exit_code(answer: Gathered, *, is_all: bool) -> int:
    """Success if what was expected has come. Of all workers also success is expected."""
    if answer.complete and not is_all:
        return exit_codes.exit_code(None)
    if answer.missing:
        return TIMEOUT
    counts: dict[str | None, int] = {}
    for item in answer.items:
        counts[item.code] = counts.get(item.code, 0) + 1
    code = exit_codes.exit_code_of_many(counts)
    return code if code or answer.complete else exit_codes.COMMAND_FAILED
