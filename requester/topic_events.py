"""What a subscriber to topics gets."""

from typing import Any, NamedTuple


class TopicEvent(NamedTuple):
    """Something has happened. `type` says what `data` is: `task_status`, ...; `event`, if somebody has published it.
    `topic`: the first of its topics that was subscribed to. `timestamp`: seconds since 1970, of the broker's clock.
    `offset` counts up over all topics; `id` is unique."""

    type: str
    topic: str
    data: Any
    timestamp: float
    offset: int
    id: str


class Gap(NamedTuple):
    """Events of this topic, or pattern, are missing here: look at the state of things. `dropped`: how many; None if
    that is not known. `reason`: `slow`, they were not read in time; `away`, the connection was lost for too long, or
    the broker has started again; `not_representable`, they cannot be carried in this encoding."""

    topic: str
    dropped: int | None
    reason: str
