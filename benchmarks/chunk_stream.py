"""Streams of chunks: how many are still to end, and how many chunks may be on their way."""

from typing import Final

from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX

from .request_stream import RequestStream

# Below it pieces are joined into one write; above, that copy costs more than passing a list.
JOIN_BYTES_MAX: Final = 16_384


class ChunkStreams(RequestStream):
    """Streams that end once each."""

    __slots__ = ()

    def ended(self) -> None:
        """The last chunk of one stream has arrived."""
        self.unanswered_count -= 1
        if self.unanswered_count == 0:
            self.end()


class Sending:
    """One stream as its sender sees it: `sent_count` of `count` chunks were sent, `taken_count` of these taken."""

    __slots__ = ("_window_count", "count", "sent_count", "taken_count")

    def __init__(self, count: int, size_bytes: int) -> None:
        """Chunks of one size, as many untaken as Taskferry's protocol allows."""
        self._window_count = min(STREAM_CHUNKS_COUNT_MAX, max(1, STREAM_SIZE_BYTES_MAX // size_bytes))
        self.count = count
        self.sent_count = 0
        self.taken_count = 0

    def next(self) -> range:
        """The sequence numbers of those that may be sent now, which then count as sent."""
        before = self.sent_count
        self.sent_count = min(self.count, self.taken_count + self._window_count)
        return range(before + 1, self.sent_count + 1)
