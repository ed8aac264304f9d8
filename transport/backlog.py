"""What waits for a peer that does not take all at once: whole frames, oldest first, without I/O.

A link passes the event loop no more than one batch at a time, and the next one when all of that has gone. So it knows
how many messages have left this process, and what waits is here, where it can be counted and dropped. Only links whose
peers are slow have a backlog; it finds the frames by their heads (RFC 6455, 5.2), so that links need not note them.
"""

from bisect import bisect_right
from collections import deque
from typing import Final

from .frames import LENGTH_16, LENGTH_64, MASKED

BATCH_SIZE_BYTES_MAX: Final = 1024 * 1024
"""One batch, if its first frame is not larger. No more than that lies in a buffer of the event loop, of which nobody
knows what has become when the connection is lost. With an eighth of it, 16 requests of 16 KiB for one worker took
several batches, and a fifth more CPU."""

_CONTROL: Final = 0x08
"""The bit in the first byte of control frames, which are no messages."""


class Backlog:
    """Frames in pieces, the first of which were passed on as a batch. `passed_count`: messages passed on so far, those
    of that batch included. `size_bytes`: the batch and all that waits behind it."""

    __slots__ = ("_ends", "_pieces", "_waiting_size_bytes", "batch_size_bytes", "passed_count")

    def __init__(self, passed_count: int) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self._waiting_size_bytes = 0
        self._ends: list[int] = []
        """Where the messages of the batch end, in bytes from its start."""
        self.batch_size_bytes = 0
        self.passed_count = passed_count

    @property
    def size_bytes(self) -> int:
        return self.batch_size_bytes + self._waiting_size_bytes

    def add(self, pieces: list[bytes | memoryview]) -> None:
        """Append whole frames, each of which begins with a piece of its own."""
        self._pieces.extend(pieces)
        self._waiting_size_bytes += sum(map(len, pieces))

    def take(self, size_bytes_max: int = BATCH_SIZE_BYTES_MAX) -> list[bytes | memoryview]:
        """The next batch, which replaces the one before: as many frames as fit into `size_bytes_max`, at least one;
        none if nothing waits."""
        batch: list[bytes | memoryview] = []
        ends: list[int] = []
        size_bytes = 0
        pieces = self._pieces
        while pieces:
            head = pieces[0]
            end = size_bytes + frame_size_bytes(head)
            if batch and end > size_bytes_max:
                break
            while pieces and size_bytes < end:
                batch.append(pieces.popleft())
                size_bytes += len(batch[-1])
            if not head[0] & _CONTROL:
                ends.append(size_bytes)
        self._ends = ends
        self.batch_size_bytes = size_bytes
        self._waiting_size_bytes -= size_bytes
        self.passed_count += len(ends)
        return batch

    def written_count(self, left_size_bytes: int) -> int:
        """Messages that have gone whole, if so many bytes of the batch have not."""
        gone_count = bisect_right(self._ends, self.batch_size_bytes - left_size_bytes)
        return self.passed_count - len(self._ends) + gone_count


def frame_size_bytes(head: bytes | memoryview) -> int:
    """The size of the frame that begins with `head`, in which its length is whole."""
    length = head[1] & ~MASKED
    size_bytes = 2 + (4 if head[1] & MASKED else 0)
    if length == 126:
        return size_bytes + 2 + int(LENGTH_16.unpack_from(head, 2)[0])
    if length == 127:
        return size_bytes + 8 + int(LENGTH_64.unpack_from(head, 2)[0])
    return size_bytes + length
