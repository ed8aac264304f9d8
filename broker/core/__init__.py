"""Every rule of the broker: workers, queue, deadlines, health and retries, in one synchronous core.

Knows the life of a request from admission to its one outcome; is told the time and talks through small ports.
Must not know asyncio, clocks, files or logging.
"""
