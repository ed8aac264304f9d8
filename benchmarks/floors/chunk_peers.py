"""Both ends of a bare link that carries chunks: a length prefix and the data, with the window of Taskferry's streams.

The receiver says how many chunks of which size it wants, and then how many it has taken, once for all that were read
together.
"""

from typing import Final

from ..chunk_stream import JOIN_BYTES_MAX, ChunkStreams, Sending
from ..load import Load
from .peers import TcpConnection
from .tcp_relay import LENGTH_BYTES

_NUMBER_BYTES: Final = 8
_WANTED_BYTES: Final = 2 * _NUMBER_BYTES


class LinkSender(TcpConnection):
    """Sends chunks, as fast as it has credit."""

    __slots__ = ("_chunk", "_sending")

    def __init__(self, load: Load, stream: ChunkStreams, name: str) -> None:
        super().__init__(load, stream)
        self._sending = Sending(0, 1)
        self._chunk = b""

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        number = int.from_bytes(buffer[start : start + _NUMBER_BYTES], "big")
        if end - start == _WANTED_BYTES:
            size_bytes = int.from_bytes(buffer[start + _NUMBER_BYTES : end], "big")
            self._sending = Sending(number, size_bytes)
            self._chunk = size_bytes.to_bytes(LENGTH_BYTES, "big") + bytes(size_bytes)
        else:
            self._sending.taken_count = number
        pieces = [self._chunk] * len(self._sending.next())
        if not pieces:
            return
        if len(self._chunk) > JOIN_BYTES_MAX:
            self._transport.writelines(pieces)
        else:
            self._transport.write(b"".join(pieces))


class LinkReceiver(TcpConnection):
    """Takes chunks."""

    __slots__ = ("_count", "_credited_count", "_size_bytes", "_streams", "_taken_count")

    def __init__(self, load: Load, stream: ChunkStreams) -> None:
        super().__init__(load, stream)
        self._streams = stream
        self._size_bytes = len(load.data)
        self._count = self._taken_count = self._credited_count = 0

    def start(self, chunk_count: int) -> None:
        """Ask for so many chunks."""
        self._count, self._taken_count, self._credited_count = chunk_count, 0, 0
        self._say(chunk_count, self._size_bytes)
        self.flush()

    def receive(self, buffer: bytearray, end: int) -> int:
        after = super().receive(buffer, end)
        if self._taken_count != self._credited_count:
            self._credited_count = self._taken_count
            self._say(self._taken_count)
            if self._taken_count == self._count:
                self._streams.ended()
        return after

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if end - start != self._size_bytes:
            self.fail(f"a chunk of {end - start} bytes, not of {self._size_bytes}")
            return
        self._taken_count += 1

    def _say(self, *numbers: int) -> None:
        payload = b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers)
        self.send(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
