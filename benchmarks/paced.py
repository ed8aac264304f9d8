"""Sending at a rate, whatever comes back: an open loop."""

import asyncio
from typing import Final

from .contenders import PacedRequester

TICK_S: Final = 0.001


async def send_paced(requester: PacedRequester, per_s: int, count: int) -> None:
    """Send requests at this rate, whether they are answered or not."""
    loop = asyncio.get_running_loop()
    began, sent_count = loop.time(), 0
    while sent_count < count:
        due_count = min(count, int((loop.time() - began) * per_s) + 1)
        for _ in range(due_count - sent_count):
            requester.send_next()
        sent_count = due_count
        await asyncio.sleep(TICK_S)
