"""`taskferry schedule`: its options, and their errors. What is asked and printed is in following.py."""

from typing import Any, Final

import click

from ...program.command_group import CommandGroup
from ..command_line import about_jobs, client_of, run
from .term_options import DURATION, term_options, terms_of
from .words import DURATION_FORM, TIME_FORM, Time


@click.group(cls=CommandGroup)
def schedule() -> None:
    """Submit a job again and again, at times or at an interval."""


@about_jobs("raw")
@schedule.command("add", short_help="Add a schedule, or replace the one of this name.")
@click.argument("name")
@click.argument("command")
@click.argument("words", metavar="[DATA]...", nargs=-1)
@click.option(
    "--cron",
    metavar="'M H D MON DOW'",
    help="At these minutes, hours, days of the month, months and days of the week, as cron has them.",
)
@click.option("--every", **DURATION, help=f"At this interval: {DURATION_FORM}.")
@click.option("--at", type=Time(), metavar="TIME", help=f"Once: {TIME_FORM}.")
@click.option("--time-zone", metavar="ZONE", help="Of --cron, as in Europe/Berlin.  [default: UTC]")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue"]),
    help="If the run before has not ended: skip this one, or let it wait.  [default: skip]",
)
@click.option("--no-catch-up", is_flag=True, help="Do not make up for runs while the broker was down.")
@term_options
@click.pass_context
def add(
    context: click.Context,
    /,
    *,
    name: str,
    command: str,
    words: tuple[str, ...],
    no_catch_up: bool,
    **given: Any,
) -> None:
    """Submit COMMAND with DATA whenever it is time, under NAME, until that is removed. Prints the next five times.

    \b
    taskferry schedule add nightly report --cron "30 2 * * *" --time-zone Europe/Berlin
    taskferry schedule add heartbeat ping --every 10m

    DATA as in `taskferry submit`. Around a change of clocks, what falls into the hour that is skipped runs once, right
    after it; in the hour that comes twice, what has a fixed hour runs once, and what runs every hour goes on evenly.
    """
    from ..arguments import DataError, data_from  # noqa: PLC0415  for a quick --help
    from . import following  # noqa: PLC0415

    when = {option: given[option] for option in ("cron", "every", "at") if given[option] is not None}
    if len(when) != 1:
        raise click.UsageError("--cron, --every, --at: give exactly one of them")
    if given["time_zone"] is not None and "cron" not in when:
        raise click.UsageError("--time-zone is for --cron")
    try:
        data = data_from(words)
    except DataError as error:
        raise click.UsageError(f"DATA: {error}") from None
    options = {**terms_of(given), **when}
    options |= {option: given[option] for option in ("time_zone", "overlap") if given[option] is not None}
    if no_catch_up:
        options["catch_up"] = False
    client = client_of(context)
    run(
        context,
        client,
        lambda requester: following.add_schedule(
            requester, name, command, data, options, as_json=client.settings.as_json
        ),
    )


@about_jobs("raw")
@schedule.command("list", short_help="List schedules.")
@click.pass_context
def list_(context: click.Context, /, **_: Any) -> None:
    """List schedules: what they run, and when next. With --json, one line of JSON for each."""
    from . import following  # noqa: PLC0415

    client = client_of(context)
    as_json = client.settings.as_json
    run(context, client, lambda requester: following.list_schedules(requester, as_json=as_json))


_HELP: Final = {
    "pause": "Do not run these schedules until they are resumed.",
    "resume": "Run paused schedules again, at their times from here on.",
    "run": "Run these schedules now, besides their times. Prints the job_ids.",
    "remove": "Forget these schedules. Jobs that they have submitted go on.",
}


def _change(action: str) -> click.Command:
    @about_jobs("raw")
    @click.command(action, help=_HELP[action])
    @click.argument("names", metavar="NAME...", nargs=-1, required=True)
    @click.pass_context
    def change(context: click.Context, /, names: tuple[str, ...], **_: Any) -> None:
        from . import following  # noqa: PLC0415

        client = client_of(context)
        as_json = client.settings.as_json
        run(
            context,
            client,
            lambda requester: following.change_schedules(requester, action, names, as_json=as_json),
        )

    return change


for _action in _HELP:
    schedule.add_command(_change(_action))
