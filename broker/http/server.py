"""The HTTP port: which path answers what, and uvicorn serving it in the broker's own event loop.

One loop for all, so that a view reads the core between two of its steps and needs no lock.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..broker import PortTaken, describe_os_error
from .metrics import BrokerCollector
from .views import status_view, workers_view

if TYPE_CHECKING:
    from ..broker import Broker


def make_app(broker: "Broker") -> Starlette:
    """`/healthz`: the process answers. `/readyz`: it takes requests (503 while it drains). `/metrics`: for Prometheus.
    `/api/workers`, `/api/status`: JSON."""
    registry = CollectorRegistry()
    registry.register(BrokerCollector(broker))

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        if broker.core.is_draining:
            return PlainTextResponse("draining\n", status_code=503)
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=None, headers={"content-type": content_type})

    async def workers(_: Request) -> Response:
        return JSONResponse(workers_view(broker))

    async def status(_: Request) -> Response:
        return JSONResponse(status_view(broker))

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/api/workers", workers),
            Route("/api/status", status),
        ]
    )


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
