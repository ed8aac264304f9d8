"""The bounds of topics, each with its reason."""

from typing import Final

from ...protocol.limits import BATCH_COUNT_DEFAULT, BATCH_S_DEFAULT

RING_COUNT_MAX: Final = 1_000
RING_S_MAX: Final = 60.0
RING_SIZE_BYTES_MAX: Final = 4 * 1024**2
"""What is kept of a topic for those that come back: enough for a connection that was lost, or a page that was loaded
again. Who was away for longer looks at the state of things, and not at what has happened."""

RINGS_SIZE_BYTES_MAX: Final = 64 * 1024**2
"""All rings together. Beyond it a ring that gets an event drops older ones first."""

CHANNELS_COUNT_MAX: Final = 20_000
"""Different topics and patterns that there are subscriptions to, or were in the last minute."""

WILD_COUNT_MAX: Final = 100
"""Of these, patterns with a `*` before their end. Each of them is compared with each event."""

SUBSCRIBERS_COUNT_MAX: Final = 100_000
"""Connections with subscriptions, and so many entries in memory."""

WAITING_COUNT_MAX: Final = 1_000
WAITING_SIZE_BYTES_MAX: Final = 1024**2
"""What waits for a subscriber that does not take all at once. Beyond it the oldest are dropped."""

STALLED_SIZE_BYTES_MAX: Final = 64 * 1024**2
"""What waits for all such subscribers together. Beyond it one of them that gets an event drops older ones first."""

STALLED_S_MAX: Final = 15.0
"""How long a subscriber may take nothing once events were dropped for it; then it is closed. A page in the background,
or a terminal in which somebody scrolls, is back earlier."""

LOOK_INTERVAL_S: Final = 1.0
"""How often old events and unused rings are looked for."""


class TopicSettings:
    """`batch_count_max`, `batch_s`: events for a subscriber are sent when there are so many, or so long after the last
    were sent. The first after a quiet time is sent at once. 0 s: all are."""

    __slots__ = ("batch_count_max", "batch_s")

    def __init__(self, batch_count_max: int = BATCH_COUNT_DEFAULT, batch_s: float = BATCH_S_DEFAULT) -> None:
        self.batch_count_max = batch_count_max
        self.batch_s = batch_s
