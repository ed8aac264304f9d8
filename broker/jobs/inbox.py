"""Inboxes: what has ended while its submitter was away."""

from ...protocol.messages import Ack, Greeting
from .job import Job
from .ports import Asker, Opened


class Inbox:
    """Not there yet."""

    __slots__ = ()

    def client_of(self, asker: Asker) -> str | None:
        """The client_id that this connection has given."""
        del asker
        return None

    def ended(self, job: Job, now: float) -> None:
        """`job`, of a client with an inbox, has ended in this turn."""

    def end_written(self, job: Job, now: float) -> None:
        """Its end is on disk."""

    def greet(self, asker: Asker, message: Greeting, now: float) -> None:
        """A connection says which client it is."""

    def acknowledge(self, asker: Asker, message: Ack, now: float) -> None:
        """A client has dealt with messages."""

    def asker_left(self, asker: Asker) -> None:
        """A connection has closed."""

    def opened(self, opened: Opened) -> None:
        """What the journal has."""
