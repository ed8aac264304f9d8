"""The wire: messages, codecs, the error registry and every limit.

Knows the shape of what two programs say to each other. Must not know sockets, clocks or policy.
"""
