"""`taskferry request --each` at work: a request for each line of a file, and a line of JSON for each outcome.

The lines of outcomes are in the order of the requests, or as they come. What is on the way is bounded by the window, so
the file may be of any size, or a pipe without an end.
"""

import sys
import time
from contextlib import aclosing
from io import RawIOBase
from typing import Any, Final, NamedTuple

import click

from ..program.exit_codes import INTERRUPTED
from ..program.interruptible import run_interruptible
from ..program.loop import new_event_loop
from . import exit_codes, output
from .bulk import Tally
from .jobs.line_file import data_of, lines_count, opened
from .jobs.lines import LineError, Lines
from .program import NOT_CONNECTED, Order, fail, print_failure, progress
from .response import Response
from .window import results_of

BAD_DATA: Final = "bad_data"
"""The code of a line that is not JSON."""


class Lot(NamedTuple):
    """The lines of `source`, a file's name or `-`. `concurrency`: how many requests at once. `in_order`: outcomes are
    written in the order of the lines."""

    source: str
    concurrency: int
    in_order: bool


class _Outcome(NamedTuple):
    number: int
    response: Response


def send_each(order: Order, lot: Lot) -> int:
    """Send them, write the outcomes, print the counts, and return the exit code: that of the most frequent failure.

    If interrupted, requests on the way are cancelled, and the counts cover those that have ended by then.
    """
    tally = Tally()
    is_interrupted = False
    with opened(lot.source, "--each") as stream:
        try:
            run_interruptible(lambda: _send_each(order, lot, stream, tally), new_event_loop)
        except NOT_CONNECTED as error:
            return fail(error)
        except KeyboardInterrupt:
            is_interrupted = True
    click.echo(f"{'interrupted after ' if is_interrupted else ''}{_counts(tally)}", err=True)
    if tally.first_failure is not None:
        print_failure(tally.first_failure)
    return INTERRUPTED if is_interrupted else exit_codes.exit_code_of_many(tally.counts, tally.kept_count)


async def _send_each(order: Order, lot: Lot, stream: RawIOBase, tally: Tally) -> None:
    async with order.requester as requester:
        await requester.connect(timeout=order.options["timeout"], retry=order.wait)
        options = {name: value for name, value in order.options.items() if name != "data"}

        async def send(line: tuple[int, bytes | LineError]) -> _Outcome:
            number, text = line
            began_s = time.perf_counter()
            try:
                data = data_of(text)
            except LineError as error:
                response = Response("", False, None, f"line {number}: {error}", code=BAD_DATA)
            else:
                response = await requester.request(order.command, data, **options)
            tally.add(response, time.perf_counter() - began_s)
            return _Outcome(number, response)

        lines = Lines(stream)
        tally.start()
        with progress(lines_count(lot.source), tally, is_wanted=not sys.stdout.isatty()):
            async with aclosing(
                results_of(send, lines.read(), concurrency=lot.concurrency, in_order=lot.in_order)
            ) as outcomes:
                async for outcome in outcomes:
                    click.echo(output.json_line(_facts(outcome, as_json=order.as_json)))
        tally.finish()


def _facts(outcome: _Outcome, *, as_json: bool) -> dict[str, Any]:
    """What the line of an outcome says; with `as_json` the whole response."""
    number, response = outcome
    if as_json:
        return {"line": number, **output.response_facts(response)}
    if response.success:
        return {"line": number, "success": True, "data": response.data}
    if response.job_id is not None:
        return {"line": number, "success": False, "job_id": response.job_id}
    facts = {"line": number, "success": False, "code": response.code, "error": response.error}
    known = {"processed_by": response.processed_by, "delivery": response.delivery}
    return facts | {name: value for name, value in known.items() if value is not None}


def _counts(tally: Tally) -> str:
    ended_count = len(tally.durations_s)
    texts = [f"{ended_count:,} line{'' if ended_count == 1 else 's'}: {tally.counts[None]:,} succeeded"]
    if tally.kept_count:
        texts.append(f"{tally.kept_count:,} kept as jobs")
    failed_count = ended_count - tally.counts[None] - tally.kept_count
    if failed_count:
        texts.append(f"{failed_count:,} failed")
    return ", ".join(texts)
