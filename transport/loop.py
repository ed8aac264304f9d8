"""The event loop that programs run on: uvloop where it is installed, asyncio's own elsewhere (Windows)."""

import asyncio
from collections.abc import Callable

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop
"""For `asyncio.Runner(loop_factory=...)`."""
