"""One command as the core knows it: who serves it, who waits for it, and what became of its requests."""

from collections import defaultdict

from .histogram import Histogram
from .route import Route


class Command:
    """A command that some worker has served since the broker began.

    `route` is that of requests without a target; `targeted` holds the others by `target_key`. `strategy` is the name of
    the one that picks its workers. `outcomes` counts ended requests by their label: `success`, `requester_gone`, or an
    error code of the registry. `log_duration_s`: see speed.py.
    """

    __slots__ = (
        "duration",
        "log_duration_s",
        "name",
        "outcomes",
        "queue_wait",
        "recent_duration",
        "route",
        "strategy",
        "targeted",
    )

    def __init__(self, name: str, strategy: str) -> None:
        self.name = name
        self.strategy = strategy
        self.route = Route(self)
        self.targeted: dict[object, Route] = {}
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.duration = Histogram()
        self.recent_duration = self.duration.window()
        self.queue_wait = Histogram()
        self.log_duration_s: float | None = None

    @property
    def waiting_count(self) -> int:
        """Requests that wait for it, those with a target included."""
        return self.route.waiting.count + sum(route.waiting.count for route in self.targeted.values())
