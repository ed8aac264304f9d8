"""Waiting for a condition, with a deadline that only a failing test reaches."""

import asyncio
import time
from collections.abc import Callable

WITHIN_S = 10.0


async def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Return as soon as `condition` holds. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not so within {within_s:g} s: {condition}")
        await asyncio.sleep(0.001)
