"""The fastest event loop that this machine has. Knows uvloop, which runs everywhere but on Windows."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop that is not running yet. uvloop is loaded only here: its import takes longer than a single request."""
    try:
        import uvloop  # noqa: PLC0415 - see above
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
