"""Messages in a row of one connection that do not decode: how many, and when they are too many.

Each is answered with an error. So they follow each other if nothing else was sent in between, and messages that are as
they should be cost nothing here.
"""

from typing import Final

from ..protocol.limits import FAULTS_COUNT_MAX

TOO_MANY_FAULTS: Final = f"{FAULTS_COUNT_MAX} messages in a row that do not decode (FAULTS_COUNT_MAX)"
"""Why the connection is closed then."""


class FaultRun:
    """The run of one connection."""

    __slots__ = ("_count", "_sent_count")

    def __init__(self) -> None:
        self._count = 0
        self._sent_count = 0

    def add(self, sent_count: int) -> bool:
        """Count one more, whose error was the message number `sent_count` of those sent. True if it is one too many."""
        if sent_count != self._sent_count + 1:
            self._count = 0
        self._sent_count = sent_count
        self._count += 1
        return self._count >= FAULTS_COUNT_MAX
