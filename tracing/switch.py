"""Whether spans are made in this process. The hot paths see nothing else of tracing, so it imports nothing."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Switch:
    """`tracer` makes the spans; None: tracing is off. Read when a broker or a worker's link starts, and at each call of
    a requester."""

    __slots__ = ("tracer",)

    def __init__(self) -> None:
        self.tracer: Tracer | None = None


SWITCH: Final = Switch()
"""The one of this process: code that instruments a program does not see the objects in it."""
