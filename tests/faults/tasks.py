"""What the real workers of these tests serve. Each run is printed before anything else happens, so that a test can
count the runs of each request, also those of a worker that was killed."""

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

from taskferry.worker import Context, Worker

worker = Worker()


def _ran(context: Context) -> None:
    os.write(1, f"ran {context.request_id}\n".encode())  # past any buffer, which a SIGKILL would empty


@worker.command()
async def echo(context: Context, message: Any = None) -> Any:
    _ran(context)
    return message


@worker.command()
async def nap(context: Context, seconds: float) -> float:
    _ran(context)
    await asyncio.sleep(seconds)
    return seconds


@worker.command()
async def divide(context: Context, by: float) -> float:
    """Fail if the requester wants it to."""
    _ran(context)
    return 1 / by


@worker.command()
async def hang(context: Context) -> None:
    """Ends only when it is cancelled."""
    _ran(context)
    await asyncio.Event().wait()


@worker.command()
async def flaky(context: Context, failures: int) -> int:
    """Fail in so many attempts of a job, then return the number of the attempt."""
    _ran(context)
    if context.attempt <= failures:
        raise RuntimeError(f"attempt {context.attempt} fails")
    return context.attempt


@worker.command()
async def stuck_once(context: Context) -> int:
    """Hang in the first attempt of a job; return the number of any later one."""
    _ran(context)
    if context.attempt == 1:
        await asyncio.Event().wait()
    return context.attempt


@worker.command()
def stubborn(context: Context, seconds: float) -> float:
    """Cannot be stopped, for it runs in a thread and does not ask. Tell when it ends."""
    _ran(context)
    time.sleep(seconds)
    os.write(1, f"ended {context.request_id}\n".encode())
    return seconds


@worker.command()
async def die(context: Context) -> None:
    """Kill the worker."""
    _ran(context)
    os.kill(os.getpid(), signal.SIGKILL)


@worker.command()
async def take_all_files(context: Context, seconds: float) -> None:
    """Take all file descriptors that are free, and for `seconds` from here on each that becomes free."""
    _ran(context)
    loop = asyncio.get_running_loop()
    _take_files([], loop.time() + seconds)


def _take_files(taken: list[int], until: float) -> None:
    loop = asyncio.get_running_loop()
    if loop.time() >= until:
        for descriptor in taken:
            os.close(descriptor)
        return
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    loop.call_later(0.001, _take_files, taken, until)
