"""The HTTP port: which path answers what, and uvicorn, which serves it in the broker's own event loop.

One loop for all, so that a view reads the broker between two of its steps and needs no lock.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ...transport.sockets import bound_sockets
from ...transport.tls_start import TlsContext
from ..entrance import Entrance
from ..metrics.scrape import Scraper, TooManyScrapes
from ..operations import Operations
from ..port import PortTaken, describe_os_error
from ..read_model import ReadModel
from .answers import error_answer, json_answer
from .connections import HttpBounds, HttpConnections
from .explain_views import explain_routes
from .guarded import Guarded
from .list_views import list_routes
from .pages import BadPage, bad_page

BODY_SIZE_BYTES_MAX: Final = 1024
"""The most that is read of a request's body: each that means anything is a short object."""


READY_WITHOUT_JOURNAL: Final = "ready for requests; jobs are refused, for the journal cannot be written\n"
"""Ready all the same: a balancer that took the broker out would stop live requests, which are well, and no other broker
has its jobs."""


UNREADY: Final = "starting: no worker has served {} of the ready_commands yet\n"


class DrainRequest(msgspec.Struct):
    """The body of a request to drain a worker, or to undo that."""

    undo: bool = False


def make_app(model: ReadModel, operations: Operations, entrance: Entrance) -> ASGIApp:
    """`/healthz`: the process answers. `/readyz`: it accepts requests (503 if it drains, or no worker
    has served a command that the settings name for this). `/metrics`: for Prometheus.
    `/api/...`: JSON (list_views.py, explain_views.py).
    `POST /api/workers/{id}/drain`: assign nothing more to that worker, or with `{"undo": true}`, assign to it again.

    All but the first two need the right to observe, and draining that to operate: see guarded.py."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        if model.state == "draining":
            return PlainTextResponse("draining\n", status_code=503)
        if count := len(model.unready_commands()):
            # Without their names, which only who may observe may know: `unready_commands` of /api/status.
            return PlainTextResponse(UNREADY.format(count), status_code=503)
        if model.jobs is not None and model.jobs.is_failing:
            return PlainTextResponse(READY_WITHOUT_JOURNAL)
        return PlainTextResponse("ready\n")

    async def drain(request: Request) -> Response:
        # A web page cannot send this type to another site without asking first, which is never granted here.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return error_answer(415, "content-type: application/json is needed")
        try:
            wanted = msgspec.json.decode(await _body(request), type=DrainRequest)
        except msgspec.DecodeError as error:
            return error_answer(400, f"body: {error}")
        except ClientDisconnect:
            return error_answer(400, "body: cut off")  # for nobody: the connection is gone
        worker_id = request.path_params["worker_id"]
        change = operations.resume_worker if wanted.undo else operations.drain_worker
        if not change(worker_id):
            return error_answer(404, f"no worker {worker_id!r} is connected")
        return json_answer(model.worker(worker_id))

    views = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", _metrics_view(model)),
            Route("/api/workers/{worker_id:any}/drain", drain, methods=["POST"]),
            *list_routes(model),
            *explain_routes(model),
        ],
        exception_handlers={BadPage: bad_page},
    )
    return Guarded(views, entrance)


def _metrics_view(model: ReadModel) -> Callable[[Request], Awaitable[Response]]:
    scraper = Scraper(model)

    async def metrics(request: Request) -> Response:
        try:
            body, headers = await scraper.scrape(
                request.headers.get("accept", ""), request.headers.get("accept-encoding", "")
            )
        except TooManyScrapes as error:
            return PlainTextResponse(f"{error}\n", status_code=503, headers={"retry-after": "1"})
        return Response(body, headers=headers)

    return metrics


async def _body(request: Request) -> bytes:
    """The request's body, cut off if it is longer than any that means anything."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_SIZE_BYTES_MAX:
            break
    return bytes(body[:BODY_SIZE_BYTES_MAX])


class _Server(uvicorn.Server):
    """uvicorn that leaves the process's signals alone: they belong to the broker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """The HTTP port of a broker. `start`, then `stop`. With `tls` it speaks nothing else. `port`: its number, once it
    listens."""

    def __init__(
        self,
        model: ReadModel,
        operations: Operations,
        entrance: Entrance,
        bounds: HttpBounds = HttpBounds(),  # noqa: B008  immutable
        *,
        tls: TlsContext | None = None,
    ) -> None:
        self._app = make_app(model, operations, entrance)
        self._connections = HttpConnections(model.http_counts, bounds, tls)
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on `host`:`port` (0: any free port). Raises PortTaken."""
        listeners: list[socket.socket] = []
        try:
            listeners = bound_sockets(host, port)
            for listener in listeners:
                listener.listen()  # now, so that "ready" is true when the broker prints it
        except OSError as error:
            for listener in listeners:
                listener.close()
            raise PortTaken(f"http port {host}:{port}: {describe_os_error(error)}") from None
        self.port = int(listeners[0].getsockname()[1])
        config = uvicorn.Config(
            self._app,
            http=cast(Any, self._connections.make),  # any that makes a protocol will do
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # uvicorn would believe X-Forwarded-For of every program on this machine
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=listeners))

    async def stop(self) -> None:
        """Close the port."""
        self._server.should_exit = True
        await self._task
