"""One end of a WebSocket connection, in either role, on asyncio: frames, joined writes, keepalive, back-pressure.

Knows nothing of what a message means.
"""
