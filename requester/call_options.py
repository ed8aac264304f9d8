"""The options of calls, as types: `Requester.call` says what each of them does."""

from typing import TypedDict

from .progress import OnProgress
from .wire import Target


class MapOptions(TypedDict, total=False):
    """Options that many calls can share."""

    timeout: float
    idempotent: bool
    priority: int | None
    affinity: str | None
    trace: str | None
    target: Target | None
    hedge: float | str | None


class StreamOptions(MapOptions, total=False):
    """Options of a request whose chunks are taken."""

    request_id: str | None


class CallOptions(StreamOptions, total=False):
    """Options of a call whose result is that of its command, and no job."""

    on_progress: OnProgress | None
