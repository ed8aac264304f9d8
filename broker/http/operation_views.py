"""The views by which an operator changes something: draining a worker, and closing a connection."""

from typing import Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..operations import Operations
from ..read_model import ReadModel
from .answers import error_answer, json_answer

BODY_SIZE_BYTES_MAX: Final = 1024
"""The most that is read of a request's body: each that means anything is a short object."""

WHY_LENGTH_MAX: Final = 80
"""Characters of what an operator says to a peer: the frame that closes its connection has room for 123 bytes."""

Body = TypeVar("Body")


class DrainRequest(msgspec.Struct):
    """The body of a request to drain a worker, or to undo that."""

    undo: bool = False


class KickRequest(msgspec.Struct):
    """The body of a request to close a connection. `reason`: for its peer, and for the log."""

    reason: str = ""


class _Refused(Exception):
    """Internal: the body means nothing; what to answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def operation_routes(model: ReadModel, operations: Operations) -> list[Route]:
    """`POST /api/workers/{id}/drain`: assign nothing more to that worker, or with `{"undo": true}`, assign to it again.
    `POST /api/connections/{id}/kick`: close that connection; `{"reason": "..."}` is sent to its peer. Both are answered
    with the row of what was changed."""

    async def drain(request: Request) -> Response:
        try:
            wanted = await _wanted(request, DrainRequest)
        except _Refused as refused:
            return refused.answer
        worker_id = request.path_params["worker_id"]
        change = operations.resume_worker if wanted.undo else operations.drain_worker
        if not change(worker_id):
            return error_answer(404, f"no worker {worker_id!r} is connected")
        return json_answer(model.worker(worker_id))

    async def kick(request: Request) -> Response:
        try:
            wanted = await _wanted(request, KickRequest)
        except _Refused as refused:
            return refused.answer
        if len(wanted.reason) > WHY_LENGTH_MAX or not wanted.reason.isprintable():
            return error_answer(400, f"body: reason: expected at most {WHY_LENGTH_MAX} printable characters")
        connection_id = request.path_params["connection_id"]
        row = model.connections.row(connection_id)
        if row is None or not operations.kick(connection_id, wanted.reason):
            return error_answer(404, f"no connection {connection_id!r} is open")
        return json_answer(row)

    return [
        Route("/api/workers/{worker_id:any}/drain", drain, methods=["POST"]),
        Route("/api/connections/{connection_id:any}/kick", kick, methods=["POST"]),
    ]


async def _wanted(request: Request, kind: type[Body]) -> Body:
    """What the body says. Raises _Refused."""
    # A web page cannot send this type to another site without asking first, which is never granted here.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Refused(error_answer(415, "content-type: application/json is needed"))
    try:
        return msgspec.json.decode(await _body(request), type=kind)
    except msgspec.DecodeError as error:
        raise _Refused(error_answer(400, f"body: {error}")) from None
    except ClientDisconnect:
        raise _Refused(error_answer(400, "body: cut off")) from None  # for nobody: the connection is gone


async def _body(request: Request) -> bytes:
    """The request's body, cut off if it is longer than any that means anything."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_SIZE_BYTES_MAX:
            break
    return bytes(body[:BODY_SIZE_BYTES_MAX])
