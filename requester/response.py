"""What a requester gets back: the five fields of every response, and what a failure says besides.

Knows the shape that users see and that the broker's responses are read into; how they arrive it must not know.
"""

from typing import Any

from msgspec import Struct

from ..protocol.errors import TaskferryError


class Response(Struct, frozen=True, rename={"queue_wait_s": "queue_wait", "retry_after_s": "retry_after"}):
    """How one request ended.

    `data` is the handler's result, None after a failure. `error` (a text for people) and `code` (of the error
    registry, or a handler's own) are None after a success. `processed_by` is the worker's id, None where no worker
    had the request.

    Of failures, None where not known: `delivery` is `not_delivered` where no worker can have begun the command, and
    `may_have_run` where one may have; `queue_wait_s` is how long the request waited for a free slot; `retry_after_s` is
    when it is worth sending again.
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
    """The response that stands for an error which this side found itself."""
    return Response(request_id, False, None, error.text, error.processed_by, error.code, error.delivery)
