"""`taskferry jobs`, `job` and `schedule` at work: what is asked, and what is printed where.

Each function returns the exit code.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from ...log.printable import printable
from ...program.exit_codes import SUCCESS
from ...protocol.errors import TaskferryError
from ...protocol.limits import LIST_COUNT_MAX
from .. import exit_codes, output
from ..answers import JobView, ScheduleView
from ..client import Requester
from ..response import failed_response
from .questions import Change

_DONE: Final[dict[Change, str]] = {
    "cancel": "cancelled",
    "retry": "accepted again",
    "remove": "removed",
}


async def list_jobs(requester: Requester, filter: Mapping[str, Any], count: int, *, as_json: bool) -> int:
    """The newest `count` jobs that match."""
    views: list[JobView] = []
    found = 0
    async for job in requester.jobs(page_count=min(count + 1, LIST_COUNT_MAX), **filter):
        assert job.view is not None
        found += 1
        if found > count:
            break
        if as_json:
            click.echo(output.json_line(msgspec.to_builtins(job.view)))
        else:
            views.append(job.view)
    if not as_json:
        from ...program.fitted_table import show  # noqa: PLC0415 - rich is slow to import, and --json needs none
        from . import tables  # noqa: PLC0415 - likewise

        show(tables.jobs(views, time.time()))
    if found > count:
        click.echo(f"there are more: --limit {10 * count}", err=True)
    return SUCCESS


async def show_job(requester: Requester, job_id: str, *, as_json: bool) -> int:
    """One job."""
    view = await requester.job(job_id).refresh()
    if as_json:
        click.echo(output.json_line(msgspec.to_builtins(view)))
    else:
        from ...program.fitted_table import show  # noqa: PLC0415 - as above
        from . import tables  # noqa: PLC0415 - as above

        show(*tables.job(view, time.time()))
    return SUCCESS


async def change_jobs(requester: Requester, kind: Change, job_ids: Sequence[str], *, as_json: bool) -> int:
    """Change each of these jobs. One that cannot be changed keeps no other from it."""
    code = SUCCESS
    for job_id in job_ids:
        job = requester.job(job_id)
        change = {"cancel": job.cancel, "retry": job.retry, "remove": job.remove}[kind]
        shown = printable(job_id)
        try:
            await change()
        except TaskferryError as error:
            code = code or exit_codes.exit_code(error.code)
            click.echo(f"error: {shown}: {output.error_line(failed_response('', error))}", err=True)
        else:
            click.echo(
                output.json_line({"job_id": job_id, "changed": _DONE[kind]})
                if as_json
                else f"{shown}: {_DONE[kind]}"
            )
    return code


async def change_all(
    requester: Requester,
    kind: Change,
    filter: Mapping[str, Any],
    *,
    is_dry_run: bool,
    is_agreed: bool,
    as_json: bool,
) -> int:
    """Change all jobs that match, after asking if there are several."""
    change_all = {
        "cancel": requester.cancel_jobs,
        "retry": requester.retry_jobs,
        "remove": requester.remove_jobs,
    }[kind]
    count = 0
    if is_dry_run or not is_agreed:
        count = await change_all(dry_run=True, **filter)
    if not is_dry_run and (is_agreed or count):
        if not is_agreed and not await _is_agreed(f"{kind.capitalize()} {_jobs(count)}?"):
            click.echo("nothing was changed", err=True)
            return exit_codes.COMMAND_FAILED
        count = await change_all(**filter)
    if as_json:
        click.echo(output.json_line({"count": count, "dry_run": is_dry_run}))
    else:
        click.echo(
            f"{_jobs(count)} would be {_DONE[kind]}" if is_dry_run else f"{_jobs(count)}: {_DONE[kind]}"
        )
    return SUCCESS


async def _is_agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say so with --yes, or see how many with --dry-run")
    return await asyncio.to_thread(click.confirm, question, err=True)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


async def add_schedule(
    requester: Requester, name: str, command: str, data: object, options: Mapping[str, Any], *, as_json: bool
) -> int:
    """Add a schedule, and say when it runs next."""
    view = await requester.add_schedule(name, command, data, **options)
    if as_json:
        click.echo(output.json_line(msgspec.to_builtins(view)))
        return SUCCESS
    _print_next(view)
    return SUCCESS


async def list_schedules(requester: Requester, *, as_json: bool) -> int:
    """All schedules."""
    views = await requester.schedules()
    if as_json:
        for view in views:
            click.echo(output.json_line(msgspec.to_builtins(view)))
        return SUCCESS
    from ...program.fitted_table import show  # noqa: PLC0415 - as above
    from . import tables  # noqa: PLC0415 - as above

    show(tables.schedules(views))
    return SUCCESS


async def change_schedules(requester: Requester, action: str, names: Sequence[str], *, as_json: bool) -> int:
    """Pause, resume, run or remove each of these schedules. One that fails keeps no other from it."""
    code = SUCCESS
    for name in names:
        shown = printable(name)
        try:
            facts = await _change_schedule(requester, action, name)
        except TaskferryError as error:
            code = code or exit_codes.exit_code(error.code)
            click.echo(f"error: {shown}: {output.error_line(failed_response('', error))}", err=True)
            continue
        if as_json:
            click.echo(output.json_line({"name": name, **facts}))
        else:
            click.echo(printable(facts["job_id"]) if "job_id" in facts else f"{shown}: {facts['changed']}")
    return code


async def _change_schedule(requester: Requester, action: str, name: str) -> dict[str, Any]:
    match action:
        case "run":
            return {"job_id": (await requester.run_schedule(name)).job_id}
        case "pause":
            await requester.pause_schedule(name)
            return {"changed": "paused"}
        case "resume":
            await requester.resume_schedule(name)
            return {"changed": "runs again"}
        case _:
            await requester.remove_schedule(name)
            return {"changed": "removed"}


def _print_next(view: ScheduleView) -> None:
    from . import tables  # noqa: PLC0415 - as above

    times = tables.next_times(view)
    click.echo(f"{printable(view.name)} runs {printable(view.command)} at:" if times else "it will not run")
    for at in times:
        click.echo(f"  {at}")
