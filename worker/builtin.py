"""The commands that `taskferry worker` serves if it is given no module."""

from datetime import datetime
from typing import Any

import msgspec

from .calculator import Number
from .calculator import calculate as compute
from .system_info import system_info
from .worker import Worker


def register(worker: Worker) -> None:
    """Make `worker` serve them."""
    worker.command()(echo)
    worker.command()(get_time)
    worker.command()(calculate)
    worker.command()(get_system_info)


async def echo(message: Any) -> str:
    """`Echo: ` and the message: a string as it is, any other value as JSON."""
    return f"Echo: {message if isinstance(message, str) else msgspec.json.encode(message).decode()}"


async def get_time() -> str:
    """Local time, `YYYY-MM-DD HH:MM:SS`."""
    return datetime.now().strftime("%Y-%m-%d %H:%M:%S")


async def calculate(a: Number, b: Number, op: str) -> Number:
    """`a op b`; op is one of + - * / // % **."""
    return compute(a, b, op)


def get_system_info() -> dict[str, Any]:
    """The machine and the process that this worker runs in. Reads files, so it runs in a thread."""
    return system_info()


worker = Worker()
register(worker)
