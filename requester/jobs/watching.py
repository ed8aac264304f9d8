"""What a person sees who waits for a job at a terminal: a line for each step, and a bar that says how far it is.

Imports rich, which is slow to load. All of it is on standard error, so that standard output has the result alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from ...log.printable import printable
from ...protocol.errors import TaskferryError
from ..answers import JobView
from .job import Job
from .receipts import JobReceipt
from .words import shown_duration

POLL_INTERVAL_S: Final = 0.5
"""How often it is asked how far the job is."""

LAST_STEP_S_MAX: Final = 1.0
"""How long the result waits for the line that says that the job has ended."""


@asynccontextmanager
async def watched(job: Job) -> AsyncIterator[None]:
    """Show the steps of a job until the block ends, which waits for its end."""
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        watch = Watch(job, progress)
        steps, poll = asyncio.create_task(watch.show_steps()), asyncio.create_task(watch.show_progress())
        try:
            yield
        except TaskferryError:
            await asyncio.wait([steps], timeout=LAST_STEP_S_MAX)
            raise
        else:
            await asyncio.wait([steps], timeout=LAST_STEP_S_MAX)
        finally:
            for task in (steps, poll):
                task.cancel()
            await asyncio.gather(steps, poll, return_exceptions=True)


class Watch:
    """One job, on the console of `progress`."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self._job = job
        self._progress = progress
        self._bar = progress.add_task("", total=None)
        self._failed_count = 0

    async def show_steps(self) -> None:
        """A line for each step, and for each attempt that failed. If that goes wrong, the result still comes."""
        with suppress(TaskferryError):
            async for receipt in self._job.receipts():
                if not receipt.attempt and not receipt.has_ended:
                    self._print(_line(receipt))
                    continue
                view = await self._job.refresh()
                self._show_failures(view, receipt)
                took_s = None if view.ended_at is None else view.ended_at - view.submitted_at
                self._print(_line(receipt, took_s))

    async def show_progress(self) -> None:
        """The bar, which moves from side to side while nothing is known."""
        while True:
            with suppress(TaskferryError):
                view = await self._job.refresh()
                share, text = _progress_of(view)
                total = None if share is None else 1.0
                self._progress.update(self._bar, total=total, completed=share or 0.0, description=text)
            await asyncio.sleep(POLL_INTERVAL_S)

    def _show_failures(self, view: JobView, receipt: JobReceipt) -> None:
        """Those before this step."""
        for attempt in view.failed[self._failed_count :]:
            if attempt.attempt < receipt.attempt or receipt.has_ended:
                self._failed_count += 1
                self._print(f"attempt {attempt.attempt} failed: {attempt.error} [{attempt.code}]")

    def _print(self, line: str) -> None:
        self._progress.console.print(Text(printable(line)), soft_wrap=True)


def _line(receipt: JobReceipt, took_s: float | None = None) -> str:
    match receipt.state:
        case "accepted":
            return f"job {receipt.job_id} is accepted"
        case "held":
            return f"job {receipt.job_id} is accepted, and has to wait for others"
        case "assigned":
            return f"attempt {receipt.attempt} runs on {receipt.worker_id}"
        case _:
            return receipt.state if took_s is None else f"{receipt.state} after {shown_duration(took_s)}"


def _progress_of(view: JobView) -> tuple[float | None, str]:
    """The share of its work that is done, if that is known, and what is to be said of it."""
    if view.state == "assigned" and isinstance(view.progress, Mapping):
        share, text = _share(view.progress.get("progress")), view.progress.get("text")
        words = ("" if share is None else f"{share:.0%}", printable(text) if isinstance(text, str) else "")
        return share, " ".join(word for word in words if word)
    if view.reason is None:
        return None, ""
    waits = f"waits {printable(view.reason)}"
    return None, waits if view.error is None else f"{waits}: {printable(view.error)}"


def _share(reported: object) -> float | None:
    is_share = isinstance(reported, (int, float)) and not isinstance(reported, bool) and 0 <= reported <= 1
    return float(reported) if is_share else None  # type: ignore[arg-type]  # it is a number
