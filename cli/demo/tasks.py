"""What the demo's workers serve: the built-in commands, and one that takes its time, for a job."""

import asyncio
from typing import Final

from ...worker import Context, Worker
from ...worker.builtin import register

STEPS_COUNT: Final = 10

worker = Worker()
register(worker)


@worker.command()
async def report(seconds: float, context: Context) -> str:
    """Work for so long, and tell how far it is."""
    for step in range(STEPS_COUNT):
        context.progress(step / STEPS_COUNT)
        await asyncio.sleep(seconds / STEPS_COUNT)
    return f"attempt {context.attempt}"
