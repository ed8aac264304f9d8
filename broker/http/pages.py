"""Which part of a long list a request asks for: `?after=NAME&limit=COUNT`. Lists are in the order of names, that
of connections in the order in which they opened."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ..page import Page
from .answers import error_answer

PAGE_COUNT_MAX: Final = 1000
"""Rows of one page at most: some hundred kilobytes, and a few milliseconds of the broker's time."""


class BadPage(Exception):
    """No page can be meant. One line for whoever asked."""


async def bad_page(_: Request, error: Exception) -> Response:
    """The answer to it."""
    return error_answer(400, str(error))


def page_of(request: Request) -> Page:
    """Raises BadPage."""
    limit = request.query_params.get("limit")
    after = request.query_params.get("after", "")
    if limit is None:
        return Page(after)
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= PAGE_COUNT_MAX):
        raise BadPage(f"limit: expected a whole number from 1 to {PAGE_COUNT_MAX}, got {limit[:20]!r}")
    return Page(after, int(limit))
