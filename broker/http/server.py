"""The HTTP port: which path answers what, and uvicorn serving it in the broker's own event loop.

One loop for all, so that a view reads the core between two of its steps and needs no lock.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...log.event import tell
from ..events import WorkerDrained, WorkerUndrained
from ..metrics.scrape import Scraper, TooManyScrapes
from ..port import PortTaken, describe_os_error
from .views import request_view, status_view, waiting_view, worker_view, workers_view

if TYPE_CHECKING:
    from ..broker import Broker


logger = logging.getLogger(__name__)

BODY_SIZE_BYTES_MAX: Final = 1024
"""What is read of a request's body: every one that has a meaning is a short object."""


class DrainWish(msgspec.Struct):
    """What an operator wants of a worker."""

    undo: bool = False


def make_app(broker: "Broker") -> Starlette:
    """`/healthz`: the process answers. `/readyz`: it takes requests (503 while it drains). `/metrics`: for Prometheus.
    `/api/workers`, `/api/status`, `/api/requests` (the longest waiting), `/api/requests/{id}`:
    JSON. `POST /api/workers/{id}/drain`: nothing more for that
    worker, or with `{"undo": true}` work again."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        if broker.core.is_draining:
            return PlainTextResponse("draining\n", status_code=503)
        return PlainTextResponse("ready\n")

    async def workers(_: Request) -> Response:
        return JSONResponse(workers_view(broker))

    async def status(_: Request) -> Response:
        return JSONResponse(status_view(broker))

    async def waiting(_: Request) -> Response:
        return JSONResponse(waiting_view(broker))

    async def request_in_flight(request: Request) -> Response:
        request_id = request.path_params["request_id"]
        found = request_view(broker, request_id)
        if not found["requests"]:
            return _error(
                404, f"no request {request_id!r} is in flight: it has ended, or was never sent here"
            )
        return JSONResponse(found)

    async def drain(request: Request) -> Response:
        # A web page cannot send this type to another site without asking first, which is never granted here.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _error(415, "content-type: application/json is needed")
        try:
            wish = msgspec.json.decode(await _body(request), type=DrainWish)
        except msgspec.DecodeError as error:
            return _error(400, f"body: {error}")
        worker_id = request.path_params["worker_id"]
        worker = broker.core.roster.workers.get(worker_id)
        if worker is None:
            return _error(404, f"no worker {worker_id!r} is connected")
        change = broker.core.resume_worker if wish.undo else broker.core.drain_worker
        change(worker, time.monotonic())
        happened = WorkerUndrained if wish.undo else WorkerDrained
        tell(logger, happened(worker_id, worker.state.value))
        return JSONResponse(worker_view(broker, worker))

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", _metrics_view(broker)),
            Route("/api/workers", workers),
            Route("/api/workers/{worker_id:path}/drain", drain, methods=["POST"]),
            Route("/api/status", status),
            Route("/api/requests", waiting),
            Route("/api/requests/{request_id:path}", request_in_flight),
        ]
    )


def _metrics_view(broker: "Broker") -> Callable[[Request], Awaitable[Response]]:
    scraper = Scraper(broker)

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
    """The request's body, cut off where it is longer than any that has a meaning."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_SIZE_BYTES_MAX:
            break
    return bytes(body[:BODY_SIZE_BYTES_MAX])


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


class _Server(uvicorn.Server):
    """uvicorn without its hands on the process's signals: they belong to the broker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """The HTTP port of a broker. `start`, then `stop`."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises PortTaken."""
        host, port = self._broker.settings.host, self._broker.settings.http_port
        try:
            listener = _bind(host, port)
        except OSError as error:
            raise PortTaken(f"http port {host}:{port}: {describe_os_error(error)}") from None
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            make_app(self._broker),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Close the port."""
        self._server.should_exit = True
        await self._task


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket for `host`, IPv4 or IPv6, and `port`. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # now, so that "ready" is true once it is said
    except OSError:
        listener.close()
        raise
    return listener
