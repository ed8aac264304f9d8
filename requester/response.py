"""What a requester gets back: the five fields of every response, and what a failure says in addition."""

from typing import Any

from msgspec import Struct

from ..protocol.errors import HandlerError, TaskferryError, error_from_wire


class Response(Struct, frozen=True, rename={"queue_wait_s": "queue_wait", "retry_after_s": "retry_after"}):
    """How one request ended.

    `data` is the handler's result, None after a failure. `error` (a text for people) and `code` (of the error
    registry, or a handler's own) are None after a success. `processed_by` is the worker's id, None if no worker had
    the request.

    Of failures, None if unknown: `delivery` is `not_delivered` if no worker can have started the command, and
    `may_have_run` if one may have; `queue_wait_s` is how long the request waited for a free slot; `retry_after_s` is
    how long to wait before sending it again.

    `job_id`: of a request with `otherwise="submit"` that could not be delivered, and is kept as this job. It has
    neither succeeded nor failed: `success` is False, and there is no `code`.
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
    job_id: str | None = None


def failed_response(request_id: str, error: TaskferryError) -> Response:
    """The response for an error that this side detected."""
    return Response(request_id, False, None, error.text, error.processed_by, error.code, error.delivery)


def kept_response(request_id: str, job_id: str) -> Response:
    """The response for a request that has become a job."""
    return Response(request_id, False, job_id=job_id)


def response_error(response: Response) -> TaskferryError:
    """The exception for a failed response."""
    return error_from_wire(
        response.code or HandlerError.code,
        response.error or HandlerError.message,
        request_id=response.request_id,
        processed_by=response.processed_by,
        delivery=response.delivery,
        queue_wait_s=response.queue_wait_s,
        retry_after_s=response.retry_after_s,
    )
