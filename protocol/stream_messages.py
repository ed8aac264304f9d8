"""The messages of streams: what comes of a request, or of a job, before its one outcome, and what was taken of it.

Progress may be left out, chunks never are. `data` stays raw bytes in the sender's encoding, as in messages.py.
"""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from .field_types import MessageId, RequestId

Stream = bool | Literal["credit", "progress"]
"""What a requester wants of a request before its response: nothing; progress and chunks, of which those count as taken
that have left the broker; the same, of which those count that it says it has taken; or only progress."""

Sequence = Annotated[int, Meta(ge=0)]

# --- requester port -------------------------------------------------------------------------------------------------


class Credit(Struct, tag_field="type", tag="credit", omit_defaults=True, gc=False):
    """Requester to broker: the chunks of a request up to this one were taken, so that its handler may send more.
    `attempt`: of which; without it, of the latest."""

    request_id: RequestId
    sequence: Sequence
    attempt: Annotated[int, Meta(ge=1)] | None = None


class Progress(Struct, tag_field="type", tag="progress", kw_only=True, omit_defaults=True, gc=False):
    """Broker to requester: how far a request is, or an attempt of a job that is followed by `receipts`. `sequence`: of
    the last chunk before it, 0 if there was none."""

    request_id: str | None = None
    job_id: str | None = None
    sequence: int
    attempt: int
    data: Raw


class Chunk(Struct, tag_field="type", tag="chunk", kw_only=True, omit_defaults=True, gc=False):
    """Broker to requester: a part of what comes of a request, or of an attempt of a job that is followed by `receipts`.
    `sequence`: 1, 2, 3 ... within an attempt."""

    request_id: str | None = None
    job_id: str | None = None
    sequence: int
    attempt: int
    data: Raw


class Reset(Struct, tag_field="type", tag="reset", gc=False):
    """Broker to requester: an earlier attempt was lost. What came of it no longer counts; `attempt` is the next."""

    request_id: str
    attempt: int


# --- worker port ----------------------------------------------------------------------------------------------------


class WorkerChunk(Struct, tag_field="type", tag="chunk", gc=False):
    """Worker to broker: a part of what comes of the assignment with this msg_id, if that said `stream`. `sequence`: 1,
    2, 3 ..., none left out."""

    msg_id: MessageId
    sequence: Annotated[int, Meta(ge=1)]
    data: Raw
    timestamp: float | None = None


class Taken(Struct, gc=False):
    """Which chunks were taken: all up to this one."""

    sequence: Sequence


class WorkerCredit(Struct, tag_field="type", tag="credit", gc=False):
    """Broker to worker: so many chunks of the assignment with this msg_id were taken."""

    msg_id: str
    data: Taken
    timestamp: float | None = None
