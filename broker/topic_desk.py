"""Where topics meet the broker: the pure `Hub`, the event loop's clock and timer, and the sources of events.

A source is attached while somebody has subscribed to what it publishes, and a minute longer: otherwise nothing of it is
built, and nothing spent.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from .topics.bounds import TopicSettings
from .topics.hub import Hub
from .topics.sources import Source

EPOCH_SIZE_BYTES: Final = 6
"""Of random numbers: no two starts of a broker share an epoch."""

NEVER: Final = float("inf")


class TopicDesk:
    """Serves the sessions of one broker. `start`, then `stop`, in one event loop. `attach` is called with each source
    that is wanted from here on (True), or no longer is (False)."""

    def __init__(self, settings: TopicSettings, attach: Callable[[Source, bool], None]) -> None:
        self.hub = Hub(secrets.token_hex(EPOCH_SIZE_BYTES), settings, self._changed)
        self._attach = attach
        self._attached: set[Source] = set()
        self._is_flush_due = False
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = NEVER
        self._encode = CODECS[Encoding.JSON].encode

    def start(self) -> None:
        """The event loop runs."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Send nothing more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def wants(self, source: Source) -> bool:
        """Somebody has subscribed to what this source publishes."""
        return source in self._attached

    def publish(
        self, type: str, topics: tuple[str, ...], data: object, latest_of: str | None = None
    ) -> int | None:
        """Something has happened: see Hub.publish. `data` is encoded only if somebody has subscribed."""
        has_topic = self.hub.has_topic
        for topic in topics:
            if has_topic(topic):
                return self.publish_raw(type, topics, Raw(self._encode(data)), Encoding.JSON, latest_of)
        return None

    def publish_raw(
        self,
        type: str,
        topics: tuple[str, ...],
        data: Raw,
        encoding: Encoding,
        latest_of: str | None = None,
    ) -> int | None:
        """The same, with data in this encoding."""
        now, at = time.monotonic(), time.time()
        offset = self.hub.publish(type, topics, data, encoding, now, int(at * 1000), latest_of)
        if offset is not None:
            self.wake()
        return offset

    def wake(self) -> None:
        """Something has been done with the hub: send what is ready at the end of this turn."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self.hub.is_ready:
            self.hub.flush(time.monotonic())
        self._set_timer()

    def _set_timer(self) -> None:
        at = self.hub.next_at
        if at >= self._wakes_at:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._wakes_at = at
        self._handle = self._loop.call_later(max(0.0, at - time.monotonic()), self._due)

    def _due(self) -> None:
        self._handle = None
        self._wakes_at = NEVER
        self.hub.advance(time.monotonic())
        self._set_timer()

    def _changed(self) -> None:
        for source in Source:
            is_wanted = self.hub.wants(source)
            if is_wanted is not (source in self._attached):
                if is_wanted:
                    self._attached.add(source)
                else:
                    self._attached.discard(source)
                self._attach(source, is_wanted)
