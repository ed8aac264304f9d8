"""What is published to a topic, as it is written, and its answer."""

from typing import Any, Final

from msgspec import Struct

from ..protocol.errors import TaskferryError, error_from_wire
from ..protocol.topic_messages import TopicFault
from .question import IfLost, Question

WHAT_MAY_BE: Final = "it may have been published"


class OutgoingEvent(Struct):
    """`data`: any value that the encoding can hold."""

    topic: str
    data: Any


class OutgoingPublish(Struct, tag_field="type", tag="publish", rename={"request_id": "id"}):
    """An event for a topic."""

    data: OutgoingEvent
    request_id: str | None = None


def publication(topic: str, data: object, timeout_s: float) -> Question:
    """The question that publishes this."""
    return Question(OutgoingPublish(OutgoingEvent(topic, data)), timeout_s, IfLost.FAIL, WHAT_MAY_BE)


def error_of(fault: TopicFault) -> TaskferryError:
    """The exception for an error about topics."""
    again_s = fault.details.get("retry_after")
    return error_from_wire(
        fault.code,
        fault.message,
        retry_after_s=float(again_s) if isinstance(again_s, int | float) else None,
    )
