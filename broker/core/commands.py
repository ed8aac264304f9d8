"""One command as the core knows it: who serves it, who waits for it, and what became of its requests."""

from collections import defaultdict
from typing import TYPE_CHECKING

from .histogram import Histogram
from .waiting import WaitingLine

if TYPE_CHECKING:
    from .pool import Pool


class Command:
    """A command that some worker has served since the broker began. `pool` is None while none does.

    `outcomes` counts ended requests by their label: `success`, `requester_gone`, or an error code of the registry.
    """

    __slots__ = ("duration", "name", "outcomes", "pool", "queue_wait", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.pool: Pool | None = None
        self.waiting = WaitingLine()
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.duration = Histogram()
        self.queue_wait = Histogram()
