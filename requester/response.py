"""What a requester gets back: the five fields of every response, and what a failure says in addition."""

from typing import Any

from msgspec import Struct

from ..protocol.errors import TaskferryError


class Response(Struct, frozen=True, rename={"queue_wait_s": "queue_wait", "retry_after_s": "retry_after"}):
    """How one request ended.

    `data` is the handler's result, None after a failure. `error` (a text for people) and `code` (of the error
    registry, or a handler's own) are None after a success. `processed_by` is the worker's id, None if no worker had
    the request.

    Of failures, None if unknown: `delivery` is `not_delivered` if no worker can have started the command, and
    `may_have_run` if one may have; `queue_wait_s` is how long the request waited for a free slot; `retry_after_s` is
    how long to wait before sending it again.
    """

    request_id: str
    success: bool
    data: Any = None
    error: str | None = None
    processed_by: str | None = None
    code: str | None = None
    delivery: str | None = None
    queue_wait_s: float | None = None
    retry_after_s: float | None = None


def failed_response(request_id: str, error: TaskferryError) -> Response:
    """The response for an error that this side detected."""
    return Response(request_id, False, None, error.text, error.processed_by, error.code, error.delivery)
