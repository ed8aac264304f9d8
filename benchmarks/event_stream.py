"""The closed loop of published events: how many are still to be published, and how often they must still arrive."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

from .request_stream import LoadFailed, RequestStream

IN_FLIGHT_COUNT: Final = 100
"""Events that are published and not everywhere yet: ten of the largest messages that a Taskferry broker joins them to
by default, and too few to be held back from any subscriber."""

LOT_COUNT: Final = 10
"""Events that are published in one write."""


class EventStream(RequestStream):
    """Events that each go to `subscriber_count` subscribers (one or more). Once LOT_COUNT of them have arrived as often
    as that, whichever they are, the next LOT_COUNT are published."""

    __slots__ = ("_publish", "_publish_below_count", "_subscriber_count", "ended_at")

    def __init__(self, subscriber_count: int) -> None:
        """`ended_at` is when the last delivery of the stream arrived, on the clock of perf_counter."""
        super().__init__()
        self._subscriber_count = subscriber_count
        self._publish: Callable[[int], object] = _nobody
        self._publish_below_count = 0
        self.ended_at = 0.0

    def publish(self, event_count: int, publish: Callable[[int], object]) -> None:
        """Publish so many events (one or more) by calls of `publish`, each with a number of events."""
        self.begin(event_count)
        self.unanswered_count = event_count * self._subscriber_count
        self._publish = publish
        self._publish_below_count = self.unanswered_count - LOT_COUNT * self._subscriber_count
        for _ in range(IN_FLIGHT_COUNT // LOT_COUNT):
            if self.unsent_count:
                self._publish_lot()

    def delivered(self, event_count: int) -> None:
        """So many events have arrived at one subscriber."""
        self.unanswered_count -= event_count
        while self.unsent_count and self.unanswered_count <= self._publish_below_count:
            self._publish_below_count -= LOT_COUNT * self._subscriber_count
            self._publish_lot()
        if self.unanswered_count <= 0:
            self.ended_at = perf_counter()
            self.end()
            if self.unanswered_count < 0:
                self.fail(f"{-self.unanswered_count} events arrived that were not published")

    async def until_ended(self, timeout_s: float) -> None:
        """Raises LoadFailed with the reason of `fail`, or if `timeout_s` passes first."""
        try:
            await super().until_ended(timeout_s)
        except LoadFailed:
            self.check()
            raise LoadFailed(
                f"{self.unanswered_count} deliveries were missing after {timeout_s:g} s"
            ) from None

    def _publish_lot(self) -> None:
        count = min(LOT_COUNT, self.unsent_count)
        self.unsent_count -= count
        self._publish(count)


def _nobody(event_count: int) -> None:
    """Nothing is published yet."""
