"""The chunks of one assignment on their way to the broker, as far as its window lets them.

Handlers send from the event loop and from threads; chunks of one in a process come as bytes, within the same window.
All leave in the event loop. Without a link nobody can want them: they are dropped, and nothing waits.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable

from ..protocol.stream_window import StreamWindow
from .assignment import Assignment
from .failure import ContextCancelled
from .outlet import DONE, ChunkWriter, Pace

Transmit = Callable[[Assignment, int, bytes], None]


class Stream:
    """The outlet of an assignment that says `stream`, from its arrival to its end; see Outlet.

    `transmit` is called with each chunk and its sequence, in the event loop. Whatever is not about `send` is called
    there as well.
    """

    __slots__ = (
        "_assignment",
        "_is_due",
        "_is_heard",
        "_is_over",
        "_loop",
        "_loop_thread_id",
        "_moved",
        "_pace",
        "_transmit",
        "_turn_in_loop",
        "_turn_of_threads",
        "_unsent",
        "_waiter",
        "_window",
        "_writer",
    )

    def __init__(
        self, assignment: Assignment, writer: ChunkWriter, transmit: Transmit, loop_thread_id: int
    ) -> None:
        self._assignment = assignment
        self._writer = writer
        self._transmit = transmit
        self._loop = asyncio.get_running_loop()
        self._loop_thread_id = loop_thread_id
        self._pace = Pace(assignment, loop_thread_id)
        self._window = StreamWindow()
        self._moved = threading.Condition(threading.Lock())
        """Its lock is held for moments only: it guards all that follows, and the window."""
        self._unsent: list[tuple[int, bytes]] = []
        self._is_due = False
        self._is_heard = True
        self._is_over = False
        self._turn_of_threads = threading.Lock()
        """Of those that wait, one in a thread and one in the event loop look for room; the others queue behind it."""
        self._turn_in_loop = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None

    # --- from the handler ---

    def send(self, chunk: object) -> Awaitable[None]:
        data = self._writer.written(chunk)
        if threading.get_ident() == self._loop_thread_id:
            return self._send_in_loop(data)
        self._send_in_thread(data)
        return DONE

    def result(self, returned: object) -> object:
        return returned

    async def _send_in_loop(self, data: bytes) -> None:
        async with self._turn_in_loop:
            while not self._admit_in_loop(data):
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
        self._flush()
        await self._pace.next()

    def _admit_in_loop(self, data: bytes) -> bool:
        """Whether it need not wait. What a cancelled handler sends while it cleans up is dropped."""
        with self._moved:
            return self._assignment.cancellation is not None or self._admit(data)

    def _send_in_thread(self, data: bytes) -> None:
        with self._turn_of_threads, self._moved:
            while True:
                self._assignment.raise_if_cancelled()
                if self._admit(data):
                    break
                self._moved.wait()
            if self._is_due or not self._unsent:
                return
            self._is_due = True
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:  # the event loop is closed
                raise ContextCancelled("the worker has stopped") from None

    def _admit(self, data: bytes) -> bool:
        """Put it among the unsent if there is room. Raises RuntimeError once the handler has ended."""
        if self._is_over:
            raise RuntimeError("the handler has ended: what it has left running cannot send any more")
        window = self._window
        if not window.has_room(len(data)):
            return False
        sequence = window.send(len(data))
        if self._is_heard:
            self._unsent.append((sequence, data))
        else:
            window.take(sequence)
        return True

    # --- from its process, if it has one ---

    def relay(self, data: bytes) -> None:
        """A chunk of a handler in another process, which knows the same window. Raises ValueError if it oversteps
        it."""
        with self._moved:
            if self._assignment.cancellation is not None:
                return
            if not self._admit(data):
                raise ValueError("a process has sent more chunks than it may")
            taken = self._window.taken
            is_heard = self._is_heard
        if is_heard:
            self._flush()
        else:
            self._credit_process(taken)

    # --- from the broker ---

    def credit(self, sequence: int) -> None:
        """The chunks up to this one were taken. Raises ValueError if it was not sent."""
        with self._moved:
            has_moved = self._window.take(sequence)
        if has_moved:
            self._credit_process(sequence)
            self.wake()

    def link_closed(self) -> None:
        """Drop what is sent from here on, and was not yet."""
        with self._moved:
            self._is_heard = False
            self._unsent.clear()
            self._window.take(self._window.sent)
        self._credit_process(self._window.taken)
        self.wake()

    def link_opened(self) -> None:
        """Send again, counting on from the last chunk. The broker takes all before it for taken."""
        with self._moved:
            self._is_heard = True

    # --- its end ---

    def wake(self) -> None:
        """Have those that wait look again: there is room, or the handler is cancelled."""
        with self._moved:
            self._moved.notify_all()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """The handler has ended: send what is left, and nothing more."""
        self._flush()
        with self._moved:
            self._is_over = True
        self.wake()

    # --- inside ---

    def _flush(self) -> None:
        with self._moved:
            unsent, self._unsent = self._unsent, []
            self._is_due = False
        for sequence, data in unsent:
            self._transmit(self._assignment, sequence, data)

    def _credit_process(self, sequence: int) -> None:
        if self._assignment.call is not None:
            self._assignment.call.credit(sequence)
