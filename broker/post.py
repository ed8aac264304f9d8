"""Messages of the user's own: from one connection to another one, to all workers, or to the plugins.

The broker looks at their kind, their size and where they go, and at nothing else.
"""

from collections.abc import Iterable
from typing import Protocol, cast, runtime_checkable

from msgspec import Raw

from ..protocol import errors
from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from ..protocol.gather_messages import Delivered
from ..protocol.limits import CUSTOM_SIZE_BYTES_MAX
from ..protocol.transcode import transcode
from .connections import Connections
from .core.call import Target
from .core.core import Core
from .core.fleet.route import mismatch
from .plugins import Plugins


@runtime_checkable
class Reader(Protocol):
    """A session, whose peer such messages are for."""

    @property
    def encoding(self) -> Encoding:
        """That of its link."""

    def deliver(self, payload: bytes) -> None:
        """Send an encoded message."""


class Post:
    """Finds those whom a message is for. `plugins` get what is for the broker itself."""

    def __init__(self, core: Core, connections: Connections, plugins: Plugins) -> None:
        self._core = core
        self._connections = connections
        self._plugins = plugins

    def broadcast(self, kind: str, data: Raw, encoding: Encoding, sender: str, target: Target | None) -> int:
        """Send it to each worker that matches `target`, and return how many those are. Raises TooLarge, and
        NotRepresentable if one of their encodings cannot hold it: then it is sent to none."""
        workers = self._core.roster.workers.values()
        readers = [cast("Reader", worker.port) for worker in workers if mismatch(worker, target) is None]
        _send(kind, data, encoding, sender, readers)
        return len(readers)

    def send(self, kind: str, data: Raw, encoding: Encoding, sender: str, to: str | None) -> None:
        """Send it to a worker, or a connection; give it to the plugins if there is no `to`. Raises UnknownReceiver,
        UnknownMessageType if no plugin handles this kind, TooLarge and NotRepresentable."""
        if to is None:
            _check_size(data)
            self._plugins.take(kind, data, encoding, sender)
            return
        worker = self._core.roster.workers.get(to)
        if worker is not None:
            _send(kind, data, encoding, sender, [cast("Reader", worker.port)])
            return
        entrant = self._connections.get(to)
        session = None if entrant is None else entrant.session
        if not isinstance(session, Reader):
            raise errors.UnknownReceiver(f"to: no worker and no connection {to!r}")
        _send(kind, data, encoding, sender, [session])


def _send(kind: str, data: Raw, encoding: Encoding, sender: str, readers: Iterable[Reader]) -> None:
    _check_size(data)
    payloads: dict[Encoding, bytes] = {}
    listed = list(readers)
    for reader in listed:
        if reader.encoding not in payloads:
            carried = data if reader.encoding is encoding else transcode(data, encoding, reader.encoding)
            payloads[reader.encoding] = CODECS[reader.encoding].encode(Delivered(kind, carried, sender))
    for reader in listed:
        reader.deliver(payloads[reader.encoding])


def _check_size(data: Raw) -> None:
    if len(data) > CUSTOM_SIZE_BYTES_MAX:
        text = f"data: {len(data)} bytes, at most {CUSTOM_SIZE_BYTES_MAX} (CUSTOM_SIZE_BYTES_MAX)"
        raise errors.TooLarge(text)
