"""The messages about topics, as typed structures: see messages.py. The same at the requester port and for browsers.

`timestamp`: milliseconds since 1970.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from . import limits
from .field_types import MessageId, RequestId

Topic = Annotated[str, Meta(min_length=1, max_length=limits.TOPIC_LENGTH_MAX)]
Topics = Annotated[list[Topic], Meta(min_length=1, max_length=limits.TOPICS_COUNT_MAX)]


class Since(Struct, forbid_unknown_fields=True):
    """How far a subscriber had got: the `offset` of the last event that it has, and the `epoch` that it is of."""

    epoch: Annotated[str, Meta(max_length=limits.NAME_LENGTH_MAX)]
    offset: Annotated[int, Meta(ge=0)]


class Subscription(Struct, omit_defaults=True):
    """Topics, or patterns of them, in which each `*` stands for any text."""

    topics: Topics
    since: Since | None = None


class Subscribe(Struct, tag_field="type", tag="subscribe"):
    """To the broker: send the events of these topics. Answered by `subscribed`, or by `error`."""

    data: Subscription
    id: RequestId | None = None


class Unsubscribe(Struct, tag_field="type", tag="unsubscribe"):
    """To the broker: send no more events of these topics. Answered by `unsubscribed`."""

    data: Subscription
    id: RequestId | None = None


class Publication(Struct):
    """What is published."""

    topic: Topic
    data: Raw | UnsetType = UNSET


class Publish(Struct, tag_field="type", tag="publish"):
    """To the broker: send this to all that have subscribed to the topic. Answered by `published`, or by `error`."""

    data: Publication
    id: RequestId | None = None


class WorkerPublish(Struct, tag_field="type", tag="publish"):
    """The same from a worker. Answered only if it is refused, by an error."""

    data: Publication
    msg_id: MessageId | None = None


Recovery = Literal["recovered", "gap"]
"""Whether all events of a topic since then follow, or some of them are lost."""


class Position(Struct, omit_defaults=True):
    """`offset`: that of the last event so far, of whatever topic. `recovery`: by topic, if there was a `since`."""

    topics: list[str]
    epoch: str
    offset: int
    recovery: dict[str, Recovery] = {}


class Subscribed(Struct, tag_field="type", tag="subscribed"):
    """From the broker: the answer. What has been missed follows at once."""

    id: str | None
    timestamp: int
    data: Position


class TopicNames(Struct):
    """Topics, or patterns of them."""

    topics: list[str]


class Unsubscribed(Struct, tag_field="type", tag="unsubscribed"):
    """From the broker: the answer. No more events of these follow."""

    id: str | None
    timestamp: int
    data: TopicNames


class Offset(Struct):
    """Where an event is; null if there is no subscriber to the topic, and it was not kept."""

    topic: str
    offset: int | None


class Published(Struct, tag_field="type", tag="published"):
    """From the broker: the answer."""

    id: str | None
    timestamp: int
    data: Offset


class EventMessage(Struct, gc=False):
    """From the broker: something has happened. `type` says what `data` is: `task_progress`, ...; `event`, if it was
    published."""

    type: str
    id: str
    timestamp: int
    data: Raw
    topic: str
    offset: int


class BatchMessage(Struct, tag_field="type", tag="batch", gc=False):
    """From the broker: several events, in order."""

    messages: list[Raw]


class Loss(Struct):
    """How many events were dropped, and why: `slow`, they were not read in time; `not_representable`, they cannot be
    carried in this encoding."""

    dropped: int
    reason: Literal["slow", "not_representable"]


class GapMessage(Struct, tag_field="type", tag="gap", gc=False):
    """From the broker: events of this topic, or pattern, were dropped. `offset`: that of the last of them."""

    topic: str
    offset: int
    timestamp: int
    data: Loss


class TopicFault(Struct):
    """What was wrong: a code, a text for people, and what else is known: `retry_after`, in seconds."""

    code: str
    message: str
    details: dict[str, float | str] = {}


class TopicError(Struct, tag_field="type", tag="error"):
    """From the broker: your message with this `id` was refused."""

    id: str | None
    timestamp: int
    error: TopicFault


FromSubscriber = Subscribe | Unsubscribe | Publish
"""To the broker, about topics."""

ToSubscriber = Subscribed | Unsubscribed | Published | BatchMessage | GapMessage | TopicError
"""From the broker, besides the events."""
