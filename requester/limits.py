"""Defaults and bounds of requesters that are not the wire's, each with its reason.

Knows numbers and nothing else, so that the command line can show them without loading the client.
"""

from typing import Final

BROKER_URL_DEFAULT: Final = "ws://localhost:8766"
"""A broker on this machine, on the requester port that it has by default."""

COUNT_MAX: Final = 10_000_000
"""Requests in one run of `taskferry request`: each one's duration is kept, eight bytes, for exact percentiles."""
