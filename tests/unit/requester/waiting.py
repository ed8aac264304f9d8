"""Waiting for a condition instead of for luck."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 10.0
LOOK_INTERVAL_S = 0.002


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition` is true; TimeoutError after far longer than it takes on a busy machine."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(LOOK_INTERVAL_S)
