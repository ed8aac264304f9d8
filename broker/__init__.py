"""The shell of the broker: ports, sessions, HTTP, metrics and configuration.

Knows sockets, the real clock and the event loop. Must not know why a worker was chosen: that is `core`.
"""
