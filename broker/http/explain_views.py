"""The views that say what waits and why: requests, and jobs if the broker keeps them."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..job_explanation import JournalSilent
from ..read_model import ReadModel
from .answers import error_answer, json_answer

NOT_IN_FLIGHT: Final = "no request {!r} is in flight: it has ended, or was never sent here"


def _in_flight(model: ReadModel) -> dict[str, Any]:
    """The requests that wait and run longest, how many there are, and how the last ones failed."""
    totals = model.totals()
    return {
        "requests": model.longest_waiting(),
        "queued_count": totals.queued_count,
        "running": model.longest_running(),
        "running_count": totals.in_flight_count - totals.queued_count,
        "failures": model.recent_failures(),
    }


def explain_routes(model: ReadModel) -> list[Route]:
    """`/api/requests`: those that wait and run longest, and the last failures; `/api/requests/{id}`: those under this
    id. `/api/jobs`: how many there are, by state and command, and the oldest. `/api/explain`: as `/api/requests`, and
    the jobs that have waited longest; `/api/explain/{id}`: the job and the requests under this id, and why they
    wait."""

    async def requests(_: Request) -> Response:
        return json_answer(_in_flight(model))

    async def requests_in_flight(request: Request) -> Response:
        id = request.path_params["id"]
        found = model.requests(id)
        if not found:
            return error_answer(404, NOT_IN_FLIGHT.format(id))
        return json_answer({"requests": found})

    async def jobs(_: Request) -> Response:
        if model.jobs is None:
            return error_answer(404, "this broker keeps no jobs")
        await model.jobs.refresh()
        return json_answer(model.jobs.overview())

    async def waiting(_: Request) -> Response:
        overview = None
        if model.jobs is not None:
            await model.jobs.refresh()
            overview = model.jobs.overview()
        return json_answer({**_in_flight(model), "jobs": overview})

    async def explanation(request: Request) -> Response:
        id = request.path_params["id"]
        try:
            job = None if model.jobs is None else await model.jobs.explain(id)
        except JournalSilent as error:
            return error_answer(503, str(error))
        found = model.requests(id)
        if not found and job is None:
            jobs = "this broker keeps no jobs" if model.jobs is None else "there is no such job"
            return error_answer(404, f"{NOT_IN_FLIGHT.format(id)}; and {jobs}")
        return json_answer({"requests": found, "job": job})

    return [
        Route("/api/requests", requests),
        Route("/api/requests/{id:any}", requests_in_flight),
        Route("/api/jobs", jobs),
        Route("/api/explain", waiting),
        Route("/api/explain/{id:any}", explanation),
    ]
