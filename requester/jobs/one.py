"""`taskferry submit` and `taskferry job` at work on one job: what is asked, and what is printed where."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import click

from ...log.printable import printable
from ...program.exit_codes import SUCCESS
from ...protocol.errors import TaskferryError
from .. import exit_codes, output
from ..client import Requester
from ..options import RequesterOptions
from ..program import fail, print_data
from .job import Job
from .report import failure


async def submit(
    requester: Requester,
    command: str,
    data: object,
    options: Mapping[str, Any],
    *,
    waits: bool,
    settings: RequesterOptions,
) -> int:
    """Submit one job, print its job_id or its result, and return the exit code."""
    job = await requester.submit(command, data, **options)
    if not waits:
        receipt = {"job_id": job.job_id, "state": job.state, "duplicate": job.is_duplicate}
        click.echo(output.json_line(receipt) if settings.as_json else printable(job.job_id))
        if job.is_duplicate and not settings.as_json:
            click.echo(f"{printable(job.job_id)} was there already: {job.state}", err=True)
        return SUCCESS
    return await print_result(job, None, settings, is_watched=sys.stderr.isatty())


async def wait_for(job: Job, timeout_s: float | None, settings: RequesterOptions) -> int:
    """As print_result; at a terminal, show how far the job is if it has not ended."""
    is_watched = sys.stderr.isatty() and timeout_s != 0 and not (await job.refresh()).has_ended
    return await print_result(job, timeout_s, settings, is_watched=is_watched)


async def print_result(
    job: Job, timeout_s: float | None, settings: RequesterOptions, *, is_watched: bool
) -> int:
    """Wait until the job has ended, print its result, and return the exit code. `is_watched`: show its steps."""
    try:
        async with _watched(job) if is_watched else nullcontext():
            data = await job.result(timeout=timeout_s)
    except asyncio.CancelledError:
        shown = printable(job.job_id)
        click.echo(f"job {shown} goes on. To wait again: taskferry job result {shown}", err=True)
        raise
    except TaskferryError as error:
        if settings.as_json:
            click.echo(output.json_line(failure(job.job_id, error)))
            return exit_codes.exit_code(error.code)
        return fail(error)
    if settings.as_json:
        click.echo(output.json_line({"job_id": job.job_id, "success": True, "data": data}))
    else:
        print_data(data, raw=settings.raw)
    return SUCCESS


def _watched(job: Job) -> AbstractAsyncContextManager[None]:
    from .watching import watched  # noqa: PLC0415 - rich is slow to import, and a pipe does not need it

    return watched(job)
