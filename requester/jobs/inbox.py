"""The inbox of a client that has a name: what has ended of its jobs, also while it was away.

The broker keeps each message until it is acknowledged. Over a new link it sends again what was not, so a message may
come twice, and none is lost.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ...protocol.errors import TaskferryError
from ...protocol.job_messages import JobEnded
from ...protocol.limits import JOB_ID_LENGTH_MAX
from ..in_flight import Waiter

UNREAD_COUNT_MAX: Final = 10_000
"""Messages that wait here to be read. Later ones are dropped, and come again over the next link."""


class EndedJob(Struct, frozen=True):
    """One message of an inbox: a job has ended.

    `state`: `done`, `dead` or `cancelled`; `code` and `error` say why it is not done. `number` counts the messages of
    the inbox. `dropped`: how many before this one were lost, because the inbox was full.
    """

    job_id: str
    state: str
    number: int
    code: str | None
    error: str | None
    dropped: int
    acknowledge_up_to: Callable[[int], None]

    def acknowledge(self) -> None:
        """This message and all before it have been dealt with: they will not come again. Sent without waiting."""
        self.acknowledge_up_to(self.number)


def ended_job(message: JobEnded, acknowledge_up_to: Callable[[int], None]) -> EndedJob:
    """The message as users see it."""
    return EndedJob(
        message.job_id,
        message.state,
        message.number or 0,
        message.code,
        message.error,
        message.dropped,
        acknowledge_up_to,
    )


def check_client_id(client_id: object) -> None:
    """Raises ValueError unless it can name a client, or is None."""
    if client_id is not None and not (
        isinstance(client_id, str) and 1 <= len(client_id) <= JOB_ID_LENGTH_MAX
    ):
        raise ValueError(f"client_id: expected text of 1 to {JOB_ID_LENGTH_MAX} characters")


class Inbox:
    """The messages that have come and were not yet read, in the event loop of the link. Each goes to one of those who
    read."""

    __slots__ = ("_error", "_readers", "_unread")

    def __init__(self) -> None:
        self._unread: deque[JobEnded] = deque()
        self._readers: deque[Waiter] = deque()
        self._error: TaskferryError | None = None

    def link_opened(self) -> None:
        """There is a new link, over which what was not read comes again."""
        self._unread.clear()
        self._error = None

    def received(self, message: JobEnded) -> None:
        """A message has come."""
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(message)
                return
        if len(self._unread) < UNREAD_COUNT_MAX:
            self._unread.append(message)

    def failed(self, error: TaskferryError) -> None:
        """There is no inbox over this link: those who read get the error, now and until there is another link."""
        self._error = error
        readers, self._readers = self._readers, deque()
        for reader in readers:
            if not reader.done():
                reader.set_exception(error)

    def read(self, reader: Waiter) -> None:
        """`reader` gets the next message."""
        if self._unread:
            reader.set_result(self._unread.popleft())
        elif self._error is not None:
            reader.set_exception(self._error)
        else:
            self._readers.append(reader)

    def give_back(self, message: JobEnded) -> None:
        """It was read by somebody who has gone."""
        self._unread.appendleft(message)
