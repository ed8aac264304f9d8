"""One end of one WebSocket connection, for either role, on asyncio.

Knows frames, joined writes, keepalive and back-pressure. Must not know what a message means.
"""
