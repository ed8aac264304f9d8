"""Second copies of requests that take too long: when one is due.

Source: Dean and Barroso, "The Tail at Scale" (CACM 2013): a second copy after the 95th percentile cuts the tail for a
few percent of extra load. That it stays at these, also where everything is slow, is budget.py's business.
"""

from typing import Final

from ..fleet.command import Command

DURATIONS_COUNT_MIN: Final = 100
"""Observed in the last window, before a percentile of a command's durations means anything."""


def hedge_delay_s(command: Command, after: float | str, now: float) -> float | None:
    """How long a request waits for its first copy: `after` seconds, or that percentile (`p95`) of what the command has
    taken lately. None where too little is known of it."""
    if isinstance(after, str):
        return command.recent_duration.percentile_s(int(after[1:]), DURATIONS_COUNT_MIN, now)
    return after


def due_at(command: Command, after: float | str, deadline: float, now: float) -> float:
    """When a request is to be looked at: as soon as a second copy may be due, at its deadline at the latest."""
    delay_s = hedge_delay_s(command, after, now)
    return deadline if delay_s is None else min(deadline, now + delay_s)
