"""The messages about gathers, broadcasts and messages of the user's own, as typed structures: see messages.py.

A gather itself is a `Request`; here is what makes it one, and what comes of it.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from . import limits
from .field_types import Label, MessageId, RequestId, Target

Count = (
    Annotated[int, Meta(ge=1, le=limits.GATHER_COUNT_MAX)]
    | Annotated[float, Meta(gt=0, lt=1)]
    | Literal["all"]
)
"""So many workers, this share of them, or all of them."""

Kind = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
Address = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
"""A worker_id, or the id of a connection."""


class Gather(Struct, frozen=True, gc=False, omit_defaults=True):
    """Run a request on each worker that serves its command and matches its target. `expect`: when it is complete:
    "all", each of them has ended; otherwise so many have succeeded. `batch`: how many of them run it at once."""

    expect: Count = "all"
    batch: Count | None = None


class Item(Struct, gc=False):
    """How it ended at one worker. `delivery`: of a failure that the worker has not reported itself."""

    worker_id: str
    success: bool
    data: Raw
    error: str | None
    code: str | None
    delivery: str | None


class Gathered(Struct, gc=False):
    """The `data` of a gather's response. `items` are in the order in which they ended, `missing` those that have
    none."""

    items: list[Raw]
    missing: list[str]
    complete: bool


class ItemMessage(Struct, tag_field="type", tag="item", gc=False):
    """Broker to requester: one item of a gather with `stream`, before its response. `sequence`: 1, 2, 3 and so on."""

    request_id: str
    sequence: int
    item: Item


class Broadcast(Struct, tag_field="type", tag="broadcast", omit_defaults=True):
    """Requester to broker: send a message to every worker, or to those that match a target."""

    kind: Kind
    request_id: RequestId | None = None
    data: Raw | UnsetType = UNSET
    target: Label | Target | None = None


class Broadcasted(Struct, tag_field="type", tag="broadcast"):
    """Broker to requester: to how many workers it was sent."""

    request_id: str | None
    count: int


class Send(Struct, tag_field="type", tag="custom", omit_defaults=True):
    """Requester to broker: a message of the user's own, for one worker or connection; without `to`, for the broker's
    plugins. Answered by `sent` if it has a request_id."""

    kind: Kind
    to: Address | None = None
    data: Raw | UnsetType = UNSET
    request_id: RequestId | None = None


class Sent(Struct, tag_field="type", tag="sent"):
    """Broker to requester: a message of the user's own was passed on."""

    request_id: str


class Custom(Struct, tag_field="type", tag="custom", omit_defaults=True):
    """Worker to broker: the same. Answered only if it is refused. Without a `kind` it is accepted, and nothing is
    done."""

    kind: Kind | None = None
    to: Address | None = None
    data: Raw | UnsetType = UNSET
    msg_id: MessageId | None = None


class Delivered(Struct, tag_field="type", tag="custom", rename={"sender": "from"}, gc=False):
    """Broker to worker or requester: a message of the user's own, from this worker or connection."""

    kind: str
    data: Raw
    sender: str
