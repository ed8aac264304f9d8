"""The HTTP port: which path answers what, and uvicorn, which serves it in the broker's own event loop.

One loop for all, so that a view reads the broker between two of its steps and needs no lock.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
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
from .connections import HttpBounds, HttpConnections
from .explain_views import explain_routes
from .guarded import Guarded
from .list_views import list_routes
from .operation_views import operation_routes
from .pages import BadPage, bad_page

READY_WITHOUT_JOURNAL: Final = "ready for requests; jobs are refused, for the journal cannot be written\n"
"""Ready all the same: a balancer that took the broker out would stop live requests, which are well, and no other broker
has its jobs."""


UNREADY: Final = "starting: no worker has served {} of the ready_commands yet\n"


def make_app(model: ReadModel, operations: Operations, entrance: Entrance) -> ASGIApp:
    """`/healthz`: the process answers. `/readyz`: it accepts requests (503 if it drains, or no worker
    has served a command that the settings name for this). `/metrics`: for Prometheus.
    `/api/...`: JSON (list_views.py, explain_views.py); `POST`: changes (operation_views.py).

    All but the first two need the right to observe, and changes that to operate: see guarded.py."""

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

    views = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", _metrics_view(model)),
            *operation_routes(model, operations),
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
