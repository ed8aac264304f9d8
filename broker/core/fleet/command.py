"""One command as the core knows it: its routes, and how its requests ended."""

from collections import defaultdict

from ..measures.exemplars import NO_EXEMPLARS, Exemplars
from ..measures.histogram import Histogram
from ..measures.turn import BEFORE, Batch
from .route import Route


class Command:
    """A command that some worker has served since the broker started, or that is awaited (see gathering.py).

    `route` is that of requests without a target; `targeted` holds the others by `target_key`. `strategy` is the name of
    the strategy that picks its workers. `outcomes` counts ended requests by label: `success`, `requester_gone`, or an
    error code of the registry. Of their durations, `duration` is the time from admission to outcome, `queue_wait` the
    time in the queue; for requests that a worker answered, `worker_duration` and `broker_duration` divide the rest
    between the two (see turn.py; `batch` is the latest). `is_listed`: it is shown under its own name even if there are
    too many commands to show (see directory.py). `workers_count`: connected workers that have it, those that drain
    included. `log_duration_s`: see speed.py.
    """

    __slots__ = (
        "_makeshift",
        "batch",
        "broker_duration",
        "duration",
        "exemplars",
        "is_listed",
        "log_duration_s",
        "name",
        "outcomes",
        "queue_wait",
        "recent_duration",
        "route",
        "strategy",
        "targeted",
        "worker_duration",
        "workers_count",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_listed = False
        self.strategy = ""
        self.route = Route(self)
        self._makeshift: Route | None = None
        self.targeted: dict[object, Route] = {}
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.duration = Histogram()
        self.recent_duration = self.duration.window()
        self.exemplars = NO_EXEMPLARS
        self.queue_wait = Histogram()
        self.worker_duration = Histogram()
        self.broker_duration = Histogram()
        self.batch = Batch(self, BEFORE)
        self.workers_count = 0
        self.log_duration_s: float | None = None

    @property
    def makeshift(self) -> Route:
        """A makeshift route for requests that name their worker: most find it free, and need no route of their own."""
        route = self._makeshift
        if route is None:
            route = self._makeshift = Route(self)
            route.is_makeshift = True
        return route

    @property
    def waiting_count(self) -> int:
        """Requests that wait for it, including those with a target."""
        count = self.route.waiting.count
        return (
            count + sum(route.waiting.count for route in self.targeted.values()) if self.targeted else count
        )

    @property
    def was_served(self) -> bool:
        """A worker has served it: its name is not one that a requester has made up."""
        return bool(self.strategy)

    @property
    def ended_count(self) -> int:
        """Requests for it that have ended."""
        return sum(self.outcomes.values())

    def show(self) -> None:
        """Show it under its own name from now on."""
        self.is_listed = True
        self.exemplars = Exemplars(is_wanted=True)

    def absorb(self, other: "Command") -> None:
        """Add the counts of `other`."""
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] += count
        self.duration.absorb(other.duration)
        self.queue_wait.absorb(other.queue_wait)
        self.worker_duration.absorb(other.worker_duration)
        self.broker_duration.absorb(other.broker_duration)
