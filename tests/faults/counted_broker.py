"""A broker that says at SIGUSR1 what it holds: `counted TASKS THREADS OBJECTS`, its asyncio tasks, threads, and objects
that the garbage collector knows. All else is `taskferry broker`."""

import asyncio
import gc
import os
import signal
import threading
from typing import Final

from taskferry.broker.cli import broker

PATH: Final = __file__


def _count(*_: object) -> None:
    gc.collect()
    counts = (len(asyncio.all_tasks()), threading.active_count(), len(gc.get_objects()))
    os.write(1, f"counted {' '.join(map(str, counts))}\n".encode())


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _count)
    broker(prog_name="taskferry broker")
