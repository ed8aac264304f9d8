"""The lines of a file or of standard input, read by a thread while an event loop goes on.

A thread, because reading a pipe may take for ever, and a daemon, because nothing ends such a read: the program must be
able to exit meanwhile.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from io import RawIOBase
from typing import Final

LINE_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of one line. The wire accepts 1 MiB of `data`, but it may be written in a longer way."""

_CHUNK_SIZE_BYTES: Final = 64 * 1024
_CHUNKS_AHEAD_COUNT: Final = 16
"""Read in advance: 1 MiB."""


class LineError(Exception):
    """A line that is too long, or a file that cannot be read: one line that says why."""


class Lines:
    """Each line that is not blank, with its number from 1. A line that is too long is a LineError. Made inside the
    running loop."""

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._room = threading.Semaphore(_CHUNKS_AHEAD_COUNT)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="taskferry lines", daemon=True).start()

    def _read(self) -> None:
        while True:
            self._room.acquire()
            chunk: bytes | OSError
            try:
                chunk = self._stream.read(_CHUNK_SIZE_BYTES) or b""
            except OSError as error:
                chunk = error
            except ValueError:  # it was closed
                return
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody reads on
                return
            if not chunk or isinstance(chunk, OSError):
                return

    async def read(self) -> AsyncIterator[tuple[int, bytes | LineError]]:
        """The lines, once. A file that cannot be read on ends with a LineError."""
        number = 1
        rest = b""
        is_too_long = False
        while chunk := await self._chunks.get():
            self._room.release()
            if isinstance(chunk, OSError):
                yield number, LineError(f"cannot read on: {(chunk.strerror or str(chunk)).lower()}")
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if is_too_long or len(line) > LINE_SIZE_BYTES_MAX:
                    yield number, _too_long()
                    is_too_long = False
                elif line.strip():
                    yield number, line
                number += 1
            if len(rest) > LINE_SIZE_BYTES_MAX:
                is_too_long, rest = True, b""
        if is_too_long:
            yield number, _too_long()
        elif rest.strip():
            yield number, rest


def _too_long() -> LineError:
    return LineError(f"over {LINE_SIZE_BYTES_MAX} bytes")
