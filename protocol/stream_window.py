"""How much of a stream may be on its way: the chunks that were sent and not yet taken, in number and in bytes.

Whoever sends chunks asks it before each of them; whoever passes them on checks by it that the sender did. Credit is
cumulative, as TCP's acknowledgements are: a message that is late or comes twice grants nothing twice.
"""

from collections import deque

from . import limits


class StreamWindow:
    """The window of one stream. Chunks have the sequence 1, 2, 3 ...

    `sent` is the sequence of the last chunk sent, `taken` that of the last one taken, 0 if there is none yet;
    `untaken_size_bytes` is the size of those in between: of their `data`, encoded.
    """

    __slots__ = ("_sizes_bytes", "sent", "taken", "untaken_size_bytes")

    def __init__(self) -> None:
        self._sizes_bytes: deque[int] = deque()
        self.sent = 0
        self.taken = 0
        self.untaken_size_bytes = 0

    def has_room(self, size_bytes: int) -> bool:
        """Whether a chunk of this size may be sent now: always if all before it are taken, otherwise within
        `STREAM_CHUNKS_COUNT_MAX` and `STREAM_SIZE_BYTES_MAX`."""
        untaken_count = len(self._sizes_bytes)
        return not untaken_count or (
            untaken_count < limits.STREAM_CHUNKS_COUNT_MAX
            and self.untaken_size_bytes + size_bytes <= limits.STREAM_SIZE_BYTES_MAX
        )

    def send(self, size_bytes: int) -> int:
        """Note that a chunk of this size is sent; returns its sequence. Raises ValueError if there is no room."""
        if not self.has_room(size_bytes):
            raise ValueError(
                f"{len(self._sizes_bytes)} chunks of {self.untaken_size_bytes} bytes are not taken yet, at most "
                f"{limits.STREAM_CHUNKS_COUNT_MAX} chunks of {limits.STREAM_SIZE_BYTES_MAX} bytes may be"
            )
        self._sizes_bytes.append(size_bytes)
        self.untaken_size_bytes += size_bytes
        self.sent += 1
        return self.sent

    def take(self, sequence: int) -> bool:
        """Note that the chunks up to this one were taken; False if that was known. Raises ValueError if it has not been
        sent."""
        if sequence > self.sent:
            raise ValueError(f"sequence: {sequence} was not sent yet, the last chunk is {self.sent}")
        if sequence <= self.taken:
            return False
        while self.taken < sequence:
            self.untaken_size_bytes -= self._sizes_bytes.popleft()
            self.taken += 1
        return True
