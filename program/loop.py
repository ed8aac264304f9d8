"""The event loop of our programs: uvloop if it is installed, else asyncio's own (Windows)."""

import asyncio

from .standard_streams import open_closed_descriptors


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop, for `asyncio.Runner(loop_factory=...)`.

    uvloop is imported only here: that takes longer than a request. A standard descriptor that is closed is opened
    before, or the loop would take its number.
    """
    open_closed_descriptors()
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
