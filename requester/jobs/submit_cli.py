"""`taskferry submit`: its options, and their errors.

What submits one job is in one.py, what submits many in many.py; both are imported only when they are needed, so that
`--help` is quick.
"""

from pathlib import Path
from typing import Any

import click

from ...configuration.kinds import Whole
from ...program.plain_options import option
from ...protocol import limits
from ..command_line import about_jobs, client_of, run
from .term_options import DURATION, term_options, terms_of
from .words import DURATION_FORM, TIME_FORM, Time

CONCURRENCY_DEFAULT = 1000
"""Jobs of a file at the broker at once: enough to fill its transactions, and few to be sure of after Ctrl-C."""


@about_jobs()
@click.command("submit", short_help="Submit a job, or one for each line of a file.")
@click.argument("command")
@click.argument("words", metavar="[DATA]...", nargs=-1)
@click.option(
    "--job-id",
    metavar="ID",
    help="The name of this work: submitted again with the same DATA it is the same job. Of lines: ID-1, ID-2, ...  "
    "[default: made for you]",
)
@click.option("--delay", **DURATION, help=f"Run it after {DURATION_FORM}.")
@click.option("--run-at", type=Time(), metavar="TIME", help=f"Run it at this time: {TIME_FORM}.")
@click.option(
    "--expires-at", type=Time(), metavar="TIME", help="If it has not been done by then, it is dead."
)
@click.option(
    "--after", metavar="JOB_ID", multiple=True, help="Run it once this job is done. May be repeated."
)
@term_options
@click.option(
    "--wait",
    "waits",
    is_flag=True,
    help="Wait until it has ended, and print its result. At a terminal, each step is shown meanwhile.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With lines: write what became of each into this new file, instead of standard output.",
)
@option(
    "--concurrency",
    kind=Whole(1, limits.IN_FLIGHT_COUNT_MAX),
    default_text=str(CONCURRENCY_DEFAULT),
    help="With lines: how many are submitted, or with --wait run, at once.",
)
@click.pass_context
def submit(
    context: click.Context,
    /,
    *,
    command: str,
    words: tuple[str, ...],
    waits: bool,
    results: Path | None,
    concurrency: int | None,
    **given: Any,
) -> None:
    """Submit a job: COMMAND with DATA, which the broker keeps until it has ended. Prints its job_id.

    \b
    DATA is one of
      '{"message": "Hello"}'  JSON
      message=Hello n=3       pairs, whose values are JSON if they can be, else text
      @FILE                   a file of JSON, or of MessagePack if named .msgpack
      @FILE.jsonl             a file of lines: a job for each, whose DATA it is as JSON
      -                       such lines from standard input
    and {} if left out.

    \b
    taskferry submit resize url=https://example.org/a.png --wait
    taskferry submit resize @images.jsonl --results accepted.jsonl
    taskferry submit report --run-at 2026-12-01T08:00 --expires-at 2026-12-01T12:00

    Of lines, one line of JSON for each says what became of it: {"line": 7, "job_id": "...", "state": "accepted"}, or
    with --wait {"line": 7, "job_id": "...", "success": true, "data": ...}, or why it failed. Ctrl-C stops submitting;
    what was accepted runs. With --job-id the same file can be submitted again: no line becomes two jobs.
    """
    from ..arguments import DataError, data_from  # noqa: PLC0415  # as the module's docstring says

    client = client_of(context)
    if given["delay"] is not None and given["run_at"] is not None:
        raise click.UsageError("--delay and --run-at: give one of them")
    options = terms_of(given)
    names = ("job_id", "delay", "run_at", "expires_at")
    options |= {name: given[name] for name in names if given[name] is not None}
    if given["after"]:
        options["after"] = list(given["after"])
    if _are_lines(words):
        from . import many  # noqa: PLC0415

        order = many.Order(command, options, waits, concurrency or CONCURRENCY_DEFAULT)
        context.exit(many.submit_lines(client, order, words[0], results))
    for name, value in (("--results", results), ("--concurrency", concurrency)):
        if value is not None:
            raise click.UsageError(f"{name} needs lines: @FILE.jsonl, or -")
    try:
        data = data_from(words)
    except DataError as error:
        raise click.UsageError(f"DATA: {error}") from None
    from . import one  # noqa: PLC0415

    settings = client.settings
    run(
        context,
        client,
        lambda requester: one.submit(requester, command, data, options, waits=waits, settings=settings),
    )


def _are_lines(words: tuple[str, ...]) -> bool:
    return words == ("-",) or (len(words) == 1 and words[0].startswith("@") and words[0].endswith(".jsonl"))
