"""The broker around its core: ports, sessions, HTTP, metrics and settings.

Knows sockets, the real clock and the event loop. Does not know why a worker was picked: that is the core's.
"""
