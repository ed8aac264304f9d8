"""The options of calls, as types: `Requester.call` says what each of them does."""

from typing import TypedDict

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


class CallOptions(MapOptions, total=False):
    """Options of a call whose result is that of its command, and no job."""

    request_id: str | None
