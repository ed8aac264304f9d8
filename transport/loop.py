"""The event loop that programs run on: uvloop where it is installed, asyncio's own elsewhere (Windows)."""

import asyncio
from collections.abc import Callable

loop_factory: Callable[[], asyncio.AbstractEventLoop]
"""For `asyncio.Runner(loop_factory=...)`."""

try:
    import uvloop
except ImportError:
    loop_factory = asyncio.new_event_loop
else:
    loop_factory = uvloop.new_event_loop
