"""Sending again what a broker refused for now: when, and how often.

Only what has certainly not run is sent again, and not before the time that the broker names. A quarter more by chance
keeps clients that were refused together from coming back together.
"""

from collections.abc import Callable
from typing import Final

from ..protocol.errors import NOT_DELIVERED, Overloaded, RateLimited
from .response import Response

WAIT_S_FIRST: Final = 0.1
WAIT_S_MAX: Final = 5.0
"""The waits if the broker names none: doubled from the first to the last."""

MORE_BY_CHANCE: Final = 0.25
"""The most that chance adds, as a share of the wait."""

_FOR_NOW: Final = frozenset({Overloaded.code, RateLimited.code})


def is_refused_for_now(response: Response) -> bool:
    """It says that the broker has no room for the request, or may not take it yet, and that it has not run."""
    return response.code in _FOR_NOW and response.delivery == NOT_DELIVERED


def wait_s(retry_after_s: float | None, retries_count: int, chance: Callable[[], float]) -> float:
    """How long to wait before a request is sent again that was so already `retries_count` times. `chance`
    returns a random float in [0, 1)."""
    named_s = min(WAIT_S_MAX, WAIT_S_FIRST * 2.0**retries_count) if retry_after_s is None else retry_after_s
    return named_s * (1.0 + MORE_BY_CHANCE * chance())
