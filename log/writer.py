"""Lines are written by a thread, from a bounded queue: a reader that stops reading must not stop a program.

Standard error is often a pipe, which holds 64 KiB; then a write waits. Lines for which there is no room are dropped,
and counted where they are missing. Must not know what a line says.
"""

import contextlib
import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

QUEUE_SIZE_BYTES_MAX: Final = 1024 * 1024
"""Bytes that wait to be written: some 10,000 lines, minutes of a busy log."""

WRITE_SIZE_BYTES_MAX: Final = 4096
"""The most that is written at once, unless a single text is longer: a pipe keeps that much together (PIPE_BUF), so that
the lines of several processes do not mix."""

FLUSH_S_MAX: Final = 1.0
"""How long the end of a program waits for its last lines to be written: a disk needs a thousandth of that."""


class LineWriter:
    """`put` never blocks. `note` is the line that says how many lines are missing, given their number.

    Attributes: `dropped_count`, lines dropped so far. A forked child has no thread: it writes a line at once, if that
    does not block, and what the parent had queued is the parent's.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        note: Callable[[int], str],
        *,
        size_bytes_max: int = QUEUE_SIZE_BYTES_MAX,
        is_writable: Callable[[], bool] = lambda: True,
    ) -> None:
        self.dropped_count = 0
        self.is_in_child = False
        self._write = write
        self._note = note
        self._size_bytes_max = size_bytes_max
        self._is_writable = is_writable
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._size_bytes = 0
        self._missing_count = 0
        """Dropped since the last note."""
        self._is_stuck = False
        """A flush was in vain: the next one does not wait."""
        self._thread: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):  # not on Windows
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forked(here()))

    def put(self, text: str) -> None:
        """Write `text`, one line or several, soon; or count it as dropped."""
        data = _encoded(text)
        with self._changed:
            if self.is_in_child:
                self._write_or_drop(data)
            elif self._has_room(len(data)):
                self._append_note()
                self._append(data)
                self._start_thread()
                self._changed.notify_all()
            else:
                self._drop()

    def flush(self) -> None:
        """Wait until all is written, for FLUSH_S_MAX seconds at most, and not again if that was in vain."""
        with self._changed:
            if self._size_bytes and not self._is_stuck:
                self._is_stuck = not self._changed.wait_for(lambda: not self._size_bytes, FLUSH_S_MAX)

    # --- with the lock ---

    def _has_room(self, size_bytes: int) -> bool:
        # Once lines are missing half of the queue must have been written, or each second line would be a note.
        free_bytes = self._size_bytes_max - self._size_bytes
        return free_bytes >= size_bytes and (
            not self._missing_count or free_bytes > self._size_bytes_max // 2
        )

    def _append(self, data: bytes) -> None:
        self._queue.append(data)
        self._size_bytes += len(data)

    def _append_note(self) -> None:
        if self._missing_count:
            note = _encoded(self._note(self._missing_count))
            self._missing_count = 0
            self._append(note)

    def _drop(self) -> None:
        self._missing_count += 1
        self.dropped_count += 1

    def _write_or_drop(self, data: bytes) -> None:
        if not self._is_writable():
            self._drop()
            return
        self._append_note()
        self._append(data)
        while self._queue:
            self._write(self._next())
        self._size_bytes = 0

    def _next(self) -> bytes:
        """Whole texts, up to WRITE_SIZE_BYTES_MAX; at least one. They count until they are written."""
        parts = [self._queue.popleft()]
        size_bytes = len(parts[0])
        while self._queue and size_bytes + len(self._queue[0]) <= WRITE_SIZE_BYTES_MAX:
            parts.append(self._queue.popleft())
            size_bytes += len(parts[-1])
        return b"".join(parts)

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started now; the next line tries again
                thread.start()
                self._thread = thread

    # --- in the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    self._append_note()
                    if not self._queue:
                        self._changed.wait()
                data = self._next()
            self._write(data)
            with self._changed:
                self._size_bytes -= len(data)
                self._is_stuck = False
                self._changed.notify_all()

    def forked(self) -> None:
        """This is a child now, without the thread; whatever held the lock is not here either."""
        self.is_in_child = True
        self._changed = threading.Condition()
        self._queue.clear()
        self._size_bytes = self._missing_count = self.dropped_count = 0
        self._thread = None


def writer_to(stream: TextIO | None, note: Callable[[int], str]) -> LineWriter:
    """A writer to `stream`, below its buffers if it has a descriptor: Python takes the lock of a buffer at its end, and
    aborts if a thread that is stuck in it has it. None: to nowhere."""
    try:
        number = stream.fileno() if stream is not None else -1
    except (AttributeError, OSError, ValueError):
        return LineWriter(lambda data: _write_to_stream(stream, data), note)
    if number < 0:
        return LineWriter(lambda data: None, note)
    return LineWriter(
        lambda data: _write_to_descriptor(number, data), note, is_writable=lambda: _is_writable(number)
    )


def _forked(writer: LineWriter | None) -> None:
    if writer is not None:
        writer.forked()


def _encoded(text: str) -> bytes:
    return f"{text}\n".encode(errors="backslashreplace")


def _write_to_descriptor(number: int, data: bytes) -> None:
    """What cannot be written is lost: there is nowhere to say so."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(number, left) :]
        except BlockingIOError:  # another program has set it to non-blocking
            select.select((), (number,), ())
        except OSError:
            return


def _is_writable(number: int) -> bool:
    try:
        return bool(select.select((), (number,), (), 0)[1])
    except (OSError, ValueError):
        return False


def _write_to_stream(stream: TextIO | None, data: bytes) -> None:
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(data.decode(errors="backslashreplace"))
            stream.flush()
