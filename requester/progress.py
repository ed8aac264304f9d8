"""How far a request is, as its caller sees it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct


class Progress(Struct, frozen=True):
    """What a handler reports. What it did not say is None.

    `share`: how much is done, from 0 to 1. `text`: what it does. `current` of `total` are done. `attempt`: which one,
    from 1; a later one begins again. `data`: the report as the worker sent it, which may be anything.
    """

    share: float | None = None
    text: str | None = None
    current: float | None = None
    total: float | None = None
    attempt: int = 1
    data: Any = None


OnProgress = Callable[[Progress], object]
"""Called with each report that comes; of those that come faster than they are taken, with the latest."""


def progress_of(data: Any, attempt: int) -> Progress:
    """A report. Of what is no report in the form of our workers, only `data` is known."""
    if not isinstance(data, Mapping):
        return Progress(attempt=attempt, data=data)
    text = data.get("text")
    share, current, total = (_number(data.get(name)) for name in ("progress", "current", "total"))
    if share is not None:
        share = min(max(share, 0.0), 1.0)
    return Progress(share, text if isinstance(text, str) else None, current, total, attempt, data)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond floats
        return None
