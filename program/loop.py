"""The event loop that programs run on: uvloop where it is installed, asyncio's own elsewhere (Windows)."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop that is not running yet, as `asyncio.Runner(loop_factory=...)` takes it.

    uvloop is loaded only here: its import takes longer than a single request.
    """
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
