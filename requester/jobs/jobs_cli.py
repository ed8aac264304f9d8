"""`taskferry jobs` and `taskferry job`: their options, and their errors.

What is asked and printed is in following.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from ...configuration.kinds import Whole
from ...program.command_group import CommandGroup
from ...program.plain_options import option
from ..command_line import about_jobs, client_of, run
from .term_options import DURATION
from .words import DURATION_FORM, TIME_FORM, Time

STATES: Final = ("accepted", "held", "assigned", "done", "dead", "cancelled")
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000_000

Function = TypeVar("Function", bound=Callable[..., Any])

_FILTERS: Final = (
    click.option(
        "--state", "states", type=click.Choice(STATES), multiple=True, help="In this state. May be repeated."
    ),
    click.option("--command", metavar="COMMAND", help="Of this command."),
    click.option("--owner", metavar="IDENTITY", help="Submitted by this identity."),
    click.option("--job-key", "key_of_job", metavar="KEY", help="Of this key."),
    click.option("--code", metavar="CODE", help="Whose last failure has this code."),
    click.option("--since", type=Time(), metavar="TIME", help=f"Submitted at or after {TIME_FORM}."),
    click.option("--until", type=Time(), metavar="TIME", help="Submitted before."),
)


def filters(function: Function) -> Function:
    """Give a command the options that say which jobs."""
    for add in reversed(_FILTERS):
        function = add(function)
    return function


def filter_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The filter, as the SDK takes it, that the options stand for; empty if none is given."""
    filter = {name: given[name] for name in ("command", "owner", "code", "since", "until")}
    filter |= {"states": list(given["states"]) or None, "key": given["key_of_job"]}
    return {name: value for name, value in filter.items() if value is not None}


@about_jobs("raw")
@click.command("jobs", short_help="List jobs.")
@filters
@option(
    "--limit",
    kind=Whole(1, LIMIT_MAX),
    default_text=str(LIMIT_DEFAULT),
    help="At most so many, the newest.",
)
@click.pass_context
def jobs(context: click.Context, /, *, limit: int | None, **given: Any) -> None:
    """List jobs, newest first: those that match every option.

    \b
    taskferry jobs --state dead --command resize
    taskferry jobs --since 2026-12-01T08:00 --json | jq .error

    `delayed` and `retrying` are accepted jobs whose time has not come. With --json, one line of JSON for each.
    """
    from . import following  # noqa: PLC0415  for a quick --help

    client = client_of(context)
    shown_count = limit or LIMIT_DEFAULT
    run(
        context,
        client,
        lambda requester: following.list_jobs(
            requester, filter_of(given), shown_count, as_json=client.settings.as_json
        ),
    )


@click.group(cls=CommandGroup)
def job() -> None:
    """Show a job, wait for its result, cancel it, run it again, or forget it."""


@about_jobs("raw")
@job.command("show", short_help="Show all that is known of a job.")
@click.argument("job_id", metavar="ID")
@click.pass_context
def show(context: click.Context, /, job_id: str, **_: Any) -> None:
    """Show all that is known of the job ID: its state, its times, and every failed attempt with its error."""
    from . import following  # noqa: PLC0415

    client = client_of(context)
    run(
        context,
        client,
        lambda requester: following.show_job(requester, job_id, as_json=client.settings.as_json),
    )


@about_jobs()
@job.command("result", short_help="Wait for a job, and print its result.")
@click.argument("job_id", metavar="ID")
@click.option(
    "--timeout",
    "wait_s",
    **DURATION,
    help=f"Wait at most {DURATION_FORM}; the job goes on. 0: do not wait.  [default: until it has ended]",
)
@click.pass_context
def result(context: click.Context, /, job_id: str, wait_s: float | None, **_: Any) -> None:
    """Wait until the job ID has ended, and print its result as `taskferry request` does. At a terminal, each step is
    shown meanwhile."""
    from . import one  # noqa: PLC0415

    client = client_of(context)
    run(
        context,
        client,
        lambda requester: one.wait_for(requester.job(job_id), wait_s, client.settings),
    )


_HELP: Final = {
    "cancel": (
        "Cancel open jobs.",
        "End open jobs, whether they run or not: those named by ID, or all that match the options.",
    ),
    "retry": (
        "Run dead or cancelled jobs again.",
        "Run dead or cancelled jobs again, with all their attempts: those named by ID, or all that match the options.",
    ),
    "remove": (
        "Forget ended jobs.",
        "Forget ended jobs and their results: those named by ID, or all that match the options.",
    ),
}


def _change(kind: Any) -> click.Command:
    """`taskferry job cancel`, `retry` or `remove`."""
    short_help, help = _HELP[kind]
    example = "--state dead --command resize" if kind != "cancel" else "--state held --command resize"

    @about_jobs("raw")
    @click.command(
        kind,
        short_help=short_help,
        help=f"{help}\n\n\b\ntaskferry job {kind} {example} --dry-run\ntaskferry job {kind} {example} --yes",
    )
    @click.argument("job_ids", metavar="[ID]...", nargs=-1)
    @filters
    @click.option("--dry-run", is_flag=True, help="Only print how many match.")
    @click.option("--yes", is_flag=True, help="Do not ask before changing all that match.")
    @click.pass_context
    def change(
        context: click.Context, /, *, job_ids: tuple[str, ...], dry_run: bool, yes: bool, **given: Any
    ) -> None:
        from . import following  # noqa: PLC0415

        filter = filter_of(given)
        if bool(job_ids) == bool(filter):
            raise click.UsageError("say which jobs: by ID, or by --state, --command or another option")
        if job_ids and dry_run:
            raise click.UsageError("--dry-run is for jobs that match options, not for those named by ID")
        client = client_of(context)
        as_json = client.settings.as_json
        run(
            context,
            client,
            lambda requester: (
                following.change_jobs(requester, kind, job_ids, as_json=as_json)
                if job_ids
                else following.change_all(
                    requester, kind, filter, is_dry_run=dry_run, is_agreed=yes, as_json=as_json
                )
            ),
        )

    return change


for _kind in _HELP:
    job.add_command(_change(_kind))
