"""Whose question to the journal is next: connections take turns, and few questions are with the journal at once.

Whatever one connection asks, and however fast, the others wait for no more than one of its questions each time, commits
wait for what is read in a moment, and memory holds only so much of what was read.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from .ports import Submitter

QUESTIONS_COUNT_MAX: Final = 10_000
"""Questions of one connection that wait for their turn: as many as requests in flight."""

READ_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""What questions that are with the journal may bring back, by estimate; a larger one goes alone."""

Asked = TypeVar("Asked")


class Turns(Generic[Asked]):
    """Questions that wait, of all connections. At most `own_count_max` of one connection are with the journal at once,
    and of all so many that their estimates stay within READ_SIZE_BYTES_MAX."""

    __slots__ = ("_lines", "_own_count_max", "_own_counts", "_paused", "_size_bytes")

    def __init__(self, own_count_max: int) -> None:
        self._own_count_max = own_count_max
        self._own_counts: dict[Submitter, int] = {}
        self._lines: dict[Submitter, deque[tuple[Asked, int]]] = {}  # the one whose turn it is comes first
        self._paused: dict[Submitter, deque[tuple[Asked, int]]] = {}
        self._size_bytes = 0

    def add(self, asker: Submitter, asked: Asked, size_bytes: int) -> None:
        """One more waits. `size_bytes`: what it may bring back."""
        line = self._lines.get(asker) or self._paused.get(asker)
        if line is None:
            is_paused = self._own_counts.get(asker, 0) >= self._own_count_max
            line = (self._paused if is_paused else self._lines)[asker] = deque()
        line.append((asked, size_bytes))

    def take(self) -> Asked | None:
        """The next one, which goes to the journal; None: none may go now. Say when it is `over`."""
        if not self._lines:
            return None
        asker, line = next(iter(self._lines.items()))
        asked, size_bytes = line[0]
        if self._size_bytes and self._size_bytes + size_bytes > READ_SIZE_BYTES_MAX:
            return None
        line.popleft()
        del self._lines[asker]
        own_count = self._own_counts[asker] = self._own_counts.get(asker, 0) + 1
        self._size_bytes += size_bytes
        if line:
            (self._lines if own_count < self._own_count_max else self._paused)[asker] = line
        return asked

    def over(self, asker: Submitter, size_bytes: int) -> None:
        """One of its questions is answered."""
        self._size_bytes -= size_bytes
        own_count = self._own_counts[asker] - 1
        if own_count:
            self._own_counts[asker] = own_count
        else:
            del self._own_counts[asker]
        line = self._paused.pop(asker, None)
        if line is not None:
            self._lines[asker] = line

    def waiting_count(self, asker: Submitter) -> int:
        """How many of its questions wait."""
        return len(self._lines.get(asker) or self._paused.get(asker) or ())

    def left(self, asker: Submitter, is_kept: Callable[[Asked], bool]) -> None:
        """A connection has closed: of what it has asked only this is kept, and what is with the journal."""
        for lines in (self._lines, self._paused):
            line = lines.pop(asker, None)
            if line is not None:
                kept = deque(waiting for waiting in line if is_kept(waiting[0]))
                if kept:
                    lines[asker] = kept
