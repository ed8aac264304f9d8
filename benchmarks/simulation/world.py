"""The real core in a simulated world: a heap of events for time, and workers and requesters at its ports.

Every decision is the core's: nothing here chooses a worker, queues, retries or rejects. No message takes time, so that
the rules are measured and not a network.
"""

import random
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from msgspec import Raw, UnsetType
from taskferry.broker.core.account import unlimited
from taskferry.broker.core.call import Call
from taskferry.broker.core.core import Core
from taskferry.broker.core.delivery.ending import SUCCESS
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.route import Route
from taskferry.broker.core.fleet.worker import Worker, WorkerState
from taskferry.broker.core.offer import Offer
from taskferry.broker.core.ports import CancelReason, Piece
from taskferry.broker.core.request import Request
from taskferry.broker.core.settings import CoreSettings
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.encodings import Encoding

START_S: Final = 1000.0
"""The time at which a world starts."""
COMMAND: Final = "work"
TIMEOUT_S: Final = 3600.0
"""For requests of experiments that are not about deadlines."""
KEYS_COUNT: Final = 10_000
DATA: Final = Raw(b"{}")
DONE: Final = Raw(b"1")


class World:
    """One core, the time, and the demand of each live request (seconds of a worker at slowness 1)."""

    def __init__(self, strategy: str, seed: object, **settings: Any) -> None:
        chance = random.Random(f"{seed} {strategy}").random
        self.core = Core(CoreSettings(**settings), StrategyChoice(strategy, {}, STRATEGIES, chance), self)
        self.now = START_S
        self.demands: dict[str, float] = {}
        self.assigned: Callable[[Request, SimulatedWorker], None] = lambda request, worker: None
        """Notified of each assignment."""
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._events_count = 0

    def worker_moved(self, worker: Worker, before: WorkerState) -> None:
        """Ignored: the assignments show what health does."""

    def overload_changed(self, route: Route) -> None:
        """Ignored: the answers show what overload does."""

    def at(self, at: float, call: Callable[[Any], None], argument: Any = None) -> None:
        """Events of the same time happen in the order of these calls."""
        self._events_count += 1
        heappush(self._events, (at, self._events_count, call, argument))

    def run(self, until: float = float("inf")) -> None:
        """Let time pass, at most to `until`; without it, until every request is answered and no event is left."""
        core, events = self.core, self._events
        while True:
            event_at = events[0][0] if events else float("inf")
            wake_at = core.next_at
            if wake_at <= event_at:
                if wake_at > until or (not events and not core.counts.in_flight_count):
                    break
                self.now = max(self.now, wake_at)
                core.advance(self.now)
            elif event_at > until:
                break
            else:
                self.now, _, call, argument = heappop(events)
                call(argument)
        if until < float("inf"):
            self.now = until


class SimulatedWorker:
    """A worker and the core's port to it.

    A `serial` one works on one assignment at a time, first in first out, and cannot be interrupted; any other works on
    all its assignments concurrently, and stops on a cancel. `slowness` multiplies the duration of work; one that has an
    `instant_failure` fails everything at once, with this text.
    """

    encoding = Encoding.JSON

    def __init__(
        self,
        world: World,
        worker_id: str,
        *,
        concurrency: int = 1,
        serial: bool = False,
        slowness: float = 1.0,
    ) -> None:
        self.worker_id = worker_id
        self.slowness = slowness
        self.instant_failure: str | None = None
        self.written_count = 0
        self.assigned_count = 0
        self._world = world
        self._serial = serial
        self._offer = Offer([COMMAND], concurrency=concurrency)
        self._holds: set[str] = set()
        self._free_at = 0.0
        self.join()

    def join(self) -> None:
        """Connect as a new worker."""
        self._free_at = self._world.now
        self._holds = set()
        core = self._world.core
        self._session = core.worker_joined(self.worker_id, self._offer, self, "anonymous", self._world.now)

    def lose(self) -> None:
        """The link breaks, and the worker drops all its assignments."""
        self._holds = set()
        self._world.core.worker_left(self._session, self._world.now)

    @property
    def session(self) -> Worker:
        """The worker as the core knows it."""
        return self._session

    # --- what the core calls ---

    def welcome(self, worker_id: str) -> None:
        self.written_count += 1

    def assign(self, msg_id: str, request: Request, timeout_s: float) -> int:
        world = self._world
        self.written_count += 1
        self.assigned_count += 1
        self._holds.add(msg_id)
        world.assigned(request, self)
        if self.instant_failure is not None:
            world.at(world.now, self._end, msg_id)
            return self.written_count
        start = self._free_at if self._serial and self._free_at > world.now else world.now
        self._free_at = end = start + world.demands[request.call.request_id] * self.slowness
        world.at(end, self._end, msg_id)
        return self.written_count

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        raise AssertionError("no worker here declares a canary")

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        self.written_count += 1
        if not self._serial and msg_id in self._holds:
            self._holds.remove(msg_id)
            self._world.at(self._world.now, self._cancelled, msg_id)

    def credit(self, msg_id: str, sequence: int) -> None:
        raise AssertionError("no request here has a stream")

    def replaced(self) -> None:
        raise AssertionError("a worker here joins after its link was lost, never before")

    # --- what the clock calls ---

    def _end(self, msg_id: str) -> None:
        if msg_id in self._holds:
            self._holds.remove(msg_id)
            core, now = self._world.core, self._world.now
            if self.instant_failure is None:
                core.succeeded(self._session, msg_id, DONE, now)
            else:
                core.failed(self._session, msg_id, self.instant_failure, "handler_error", now)

    def _cancelled(self, msg_id: str) -> None:
        if self._session.assignments.get(msg_id) is not None:
            self._world.core.failed(self._session, msg_id, "cancelled", "cancelled", self._world.now)


class SimulatedRequester:
    """A requester and the core's port to it. `answered(request_id, outcome)` is called at the end of each request, with
    `success` or an error code."""

    encoding = Encoding.JSON

    def __init__(self, world: World, answered: Callable[[str, str], None], **options: Any) -> None:
        self.answered = answered
        self._world = world
        self._options = {"timeout_s": TIMEOUT_S} | options
        self._session = world.core.requester_joined(self, unlimited("anonymous"))

    def send(self, request_id: str, demand_s: float, affinity: str | None = None) -> None:
        """Submit a request that takes a worker `demand_s`."""
        world = self._world
        world.demands[request_id] = demand_s
        call = Call(request_id, COMMAND, DATA, affinity=affinity, **self._options)
        world.core.submit(self._session, call, world.now)

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        del self._world.demands[request_id]
        self.answered(request_id, SUCCESS)

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        assert request_id is not None, "each has one"
        del self._world.demands[request_id]
        self.answered(request_id, failure.code)

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        raise AssertionError("only attempts are followed")

    def progress(self, request_id: str, report: Piece) -> None:
        raise AssertionError("no worker here reports any")

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        raise AssertionError("no request here has a stream")

    def reset(self, request_id: str, attempt: int) -> None:
        """Its request runs again."""


AFFINITIES: Final = tuple(f"key {index}" for index in range(KEYS_COUNT))
"""Keys for consistent_hash; the other strategies ignore them."""


def arrivals(
    world: World, gaps: Sequence[float], send: Callable[[int], None], *, start: float = START_S
) -> None:
    """Call `send(number)` after each of the gaps (seconds), one after the other."""
    count = len(gaps)

    def arrive(number: int) -> None:
        following = number + 1
        if following < count:
            world.at(world.now + gaps[following], arrive, following)
        send(number)

    if count:
        world.at(start + gaps[0], arrive, 0)
