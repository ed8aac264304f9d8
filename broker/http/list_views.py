"""The views that list what there may be many of, workers, commands and connections, page by page."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..connection_reading import Wanted
from ..read_model import ReadModel
from .answers import json_answer
from .pages import page_of


def list_routes(model: ReadModel) -> list[Route]:
    """`/api/workers` and `/api/commands`: a page of them; `/api/workers?worker_id=ID`: that one, with all of its
    commands. `/api/status`: the broker as a whole, with a page of its commands. `/api/connections`: a page of those
    that are open; with `port`, `identity` or `client_id`, of those that have it."""

    async def workers(request: Request) -> Response:
        worker_id = request.query_params.get("worker_id")
        if worker_id is not None:
            row = model.worker(worker_id)
            return json_answer({"workers": [] if row is None else [row]})
        return json_answer(await model.workers_page(page_of(request)))

    async def commands(request: Request) -> Response:
        return json_answer(await model.commands(page_of(request)))

    async def connections(request: Request) -> Response:
        wanted = Wanted(*map(request.query_params.get, Wanted._fields))
        return json_answer(await model.connections.page(page_of(request), wanted))

    async def status(request: Request) -> Response:
        page = page_of(request)
        if model.jobs is not None:
            await model.jobs.refresh()
        return json_answer(await model.status(page))

    return [
        Route("/api/workers", workers),
        Route("/api/commands", commands),
        Route("/api/connections", connections),
        Route("/api/status", status),
    ]
