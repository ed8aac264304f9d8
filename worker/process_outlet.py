"""What a handler in a process has in place of the worker: its context there, which speaks over the process's channel.

The window of its chunks is that of the worker's stream: credit from the broker is passed on to the process.
"""

import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from msgspec import msgpack

from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from ..protocol.messages import AttemptOf
from ..protocol.stream_window import StreamWindow
from . import forked, limits
from .assignment import Assignment, Cancellation
from .context import Context
from .generators import run_generator
from .outlet import DONE, ChunkWriter, Collected, Outlet, Pace, Unwanted
from .progress import Word
from .publishing import event_bytes

CHUNK: Final = b"c"
"""From the process: the first byte of a message with a chunk, encoded."""

PROGRESS: Final = b"p"
"""From the process: the first byte of a message with a Word, as MessagePack."""

EVENT: Final = b"e"
"""From the process: the first byte of a message with a topic and an event's data, which is encoded."""

UNWANTED: Final = Cancellation("its result is no longer needed")
"""A process is not told why."""

_OUTLET: Final[ContextVar[Outlet]] = ContextVar("outlet")
"""Of the handler that runs."""

read_word: Final = msgpack.Decoder(Word).decode
read_event: Final = msgpack.Decoder(tuple[str, bytes]).decode
_write_word: Final = msgpack.Encoder().encode


class Setting(NamedTuple):
    """What a process needs for the context of a handler, whose parameter for it is `context_name`, or for its chunks.

    `is_streamed`: they are wanted. A chunk, and a result, may take `size_bytes_max`.
    """

    request_id: str
    command: str
    trace: str | None
    job: AttemptOf | None
    worker_id: str
    context_name: str | None
    is_generator: bool
    is_streamed: bool
    size_bytes_max: int


def run_generator_here(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> object:
    """As `run_generator`, to the outlet of the call that this process runs: this can be sent to it."""
    return run_generator(_OUTLET.get(), function, *arguments, **keywords)


class Reporter:
    """Sends the latest word of what runs, at most ten times a second, by `write`: from a thread of its own, which is
    started by the first word. What has ended, and a forked child, say nothing."""

    __slots__ = ("_assignment", "_fork_depth", "_is_due", "_lock", "_thread", "_word", "_write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._fork_depth = forked.depth()
        self._assignment: Assignment | None = None
        self._word: Word | None = None
        self._lock = threading.Lock()
        self._is_due = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, assignment: Assignment) -> None:
        """This is what runs now."""
        self._assignment = assignment

    def report(self, assignment: Assignment, word: Word) -> None:
        if forked.depth() != self._fork_depth:
            return
        with self._lock:
            if assignment is not self._assignment:
                return
            self._word = word
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_each, name="progress", daemon=True)
                self._thread.start()
        self._is_due.set()

    def close(self) -> None:
        """It has ended: send its last word."""
        with self._lock:
            self._send()
            self._assignment = None

    def _send_each(self) -> None:
        while self._is_due.wait():
            self._is_due.clear()
            with self._lock:
                self._send()
            time.sleep(limits.PROGRESS_INTERVAL_S)

    def _send(self) -> None:
        word, self._word = self._word, None
        if word is not None:
            self._write(PROGRESS + _write_word(word))


class ChannelStream:
    """The outlet of a handler whose chunks are wanted: blocks until there is credit. See Outlet."""

    __slots__ = ("_assignment", "_credits", "_is_over", "_turn", "_window", "_write", "_writer")

    def __init__(self, assignment: Assignment, writer: ChunkWriter, write: Callable[[bytes], None]) -> None:
        self._assignment = assignment
        self._writer = writer
        self._write = write
        self._window = StreamWindow()
        self._credits: SimpleQueue[int] = SimpleQueue()
        """Those that the window does not know yet: at most one for each chunk that is not taken."""
        self._turn = threading.Lock()
        self._is_over = False

    def send(self, chunk: object) -> Awaitable[None]:
        data = self._writer.written(chunk)
        with self._turn:
            while True:
                self._assignment.raise_if_cancelled()
                if self._is_over:
                    raise RuntimeError("the handler has ended: what it has left running cannot send any more")
                if self._window.has_room(len(data)):
                    break
                self._window.take(self._credits.get())
            self._window.send(len(data))
            self._write(CHUNK + data)
        return DONE

    def result(self, returned: object) -> object:
        return returned

    def credit(self, sequence: int) -> None:
        """The chunks up to this one were taken. From any thread."""
        self._credits.put(sequence)

    def close(self) -> None:
        """The handler has ended: what it has left running sends nothing more."""
        self._is_over = True
        self._credits.put(0)


class Announcer:
    """Sends what a handler publishes, by `write`. A forked child sends nothing."""

    __slots__ = ("_codec", "_fork_depth", "_write")

    def __init__(self, encoding: Encoding, write: Callable[[bytes], None]) -> None:
        self._codec = CODECS[encoding]
        self._write = write
        self._fork_depth = forked.depth()

    def publish(self, topic: str, data: object) -> None:
        if forked.depth() == self._fork_depth:
            self._write(EVENT + _write_word((topic, event_bytes(self._codec, topic, data))))


class RunningHere:
    """One call in its process: its context, and what it says. `write` sends a message over the channel."""

    __slots__ = ("_announcer", "_assignment", "_reporter", "_setting", "_stream", "outlet")

    def __init__(
        self,
        setting: Setting,
        deadline: float,
        encoding: Encoding,
        write: Callable[[bytes], None],
        reporter: Reporter,
    ) -> None:
        self._setting = setting
        self._reporter = reporter
        self._announcer = Announcer(encoding, write)
        self._assignment = Assignment(
            "", setting.request_id, setting.command, setting.trace, deadline, setting.job
        )
        writer = ChunkWriter(CODECS[encoding], setting.size_bytes_max)
        self._stream: ChannelStream | None = None
        self.outlet: Outlet
        if setting.is_streamed:
            self.outlet = self._stream = ChannelStream(self._assignment, writer, write)
        elif setting.is_generator:
            self.outlet = Collected(Pace(self._assignment, None), writer)
        else:
            self.outlet = Unwanted(Pace(self._assignment, None))

    def keywords(self, given: dict[str, Any]) -> dict[str, Any]:
        """Those that the handler is called with: as they were given, and the context. To be called in the context of
        variables that the handler runs in."""
        _OUTLET.set(self.outlet)
        self._reporter.open(self._assignment)
        name = self._setting.context_name
        if name is None:
            return given
        context = Context(
            self._assignment, self._setting.worker_id, self._reporter, self.outlet, self._announcer
        )
        return {**given, name: context}

    def credit(self, sequence: int) -> None:
        """The broker has taken its chunks up to this one. From any thread."""
        if self._stream is not None:
            self._stream.credit(sequence)

    def cancel(self) -> None:
        """End it where it next looks, or waits for credit. From any thread."""
        self._assignment.cancellation = UNWANTED
        self.credit(0)

    def close(self) -> None:
        """It has ended: its last word is sent, and nothing after it."""
        if self._stream is not None:
            self._stream.close()
        self._reporter.close()
