"""What there is to know about a running broker, as numbers and rows: for the HTTP views, metrics and the demo.

They read this and nothing behind it, so that the core and the ports can change without them. Reads, and changes
nothing; keeps no numbers itself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from msgspec import Struct

from ..log.setup import dropped_count
from ..transport.admission import RefusalReason
from ..transport.counts import LinkCounts
from ..transport.group import LinkGroup
from .access.rights import Action
from .connection_reading import ConnectionReading
from .core.core import Core
from .core.explain import explain, longest_running, longest_waiting, recent_failures
from .core.fleet.command import Command
from .core.fleet.directory import OTHER
from .core.fleet.worker import Worker, WorkerState
from .core.measures.exemplars import Exemplars
from .core.measures.histogram import Histogram
from .entrance import Entrance
from .entrance_counts import Ended, Proof
from .http.counts import HttpCounts
from .job_reading import JobReading, JobsStatus
from .page import Page
from .port import Port
from .requester_session import RequesterSession
from .slices import Slices
from .topics.hub import Hub
from .worker_session import WorkerSession

WORKER_STATES: Final = tuple(state.value for state in WorkerState if state is not WorkerState.GONE)
"""The states of connected workers."""


COMMANDS_SHOWN_COUNT_MAX: Final = 100
"""Commands that the row of a worker lists, of a thousand that it may serve."""

STEP_COUNT: Final = 100
"""Commands that are counted in one step."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over all commands: `..._count` since the broker started, except that `in_flight_count`, `queued_count` and
    `queue_size_bytes` say how much there is now. `refused`: requests that were not admitted, by code; `ejected`:
    ejections by cause."""

    submitted_count: int
    in_flight_count: int
    queued_count: int
    queue_size_bytes: int
    assigned_size_bytes: int
    unserved_count: int
    retried_count: int
    given_up_count: int
    reassigned_count: int
    hedged_count: int
    hedges_won_count: int
    shed_count: int
    yielded_count: int
    late_responses_count: int
    unknown_assignments_count: int
    readmitted_count: int
    refused: Mapping[str, int]
    ejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AccessTotals:
    """Decisions about logins, rights and limits since the broker started. `logins`: by what was presented and outcome;
    `ended`: connections closed for their login; `kicked`: those closed by an operator, by port; `forbidden`: by what
    was refused; `limited`: refusals by the name of the limit; `http_refused`: requests to the HTTP port."""

    logins: Mapping[tuple[Proof, str], int]
    ended: Mapping[Ended, int]
    kicked: Mapping[str, int]
    forbidden: Mapping[Action, int]
    limited: Mapping[str, int]
    http_refused: Mapping[RefusalReason, int]


@dataclass(frozen=True, slots=True)
class PortRow:
    """One WebSocket port. `open_count`: connections whose handshake is done."""

    name: str
    open_count: int
    counts: LinkCounts


class WorkerRow(Struct, frozen=True):
    """A connected worker, as `/api/workers` shows it. Seconds; `in_flight` counts taken slots; `speed` is learned, 1 is
    as fast as its peers. `commands`: in lists the first of `commands_count`."""

    worker_id: str
    identity: str
    state: str
    reason: str | None
    commands: list[str]
    commands_count: int
    concurrency: int
    in_flight: int
    weight: float
    speed: float
    labels: dict[str, str]
    peer: str | None
    encoding: str
    connected_s: float
    sdk: str | None
    succeeded_count: int
    failed_count: int
    ejections_count: int


class CommandRow(Struct, frozen=True):
    """A command that some worker has served, as `/api/status` shows it."""

    command: str
    worker_count: int
    queued_count: int
    strategy: str
    outcomes: dict[str, int]


class WorkersPage(Struct, frozen=True):
    """Some of `workers_count` connected workers. `next`: after which the next page begins; None if there is none."""

    workers: list[WorkerRow]
    workers_count: int
    next: str | None


class CommandsPage(Struct, frozen=True):
    """The same for commands."""

    commands: list[CommandRow]
    commands_count: int
    next: str | None


class Status(Struct, frozen=True):
    """The broker as a whole, as `/api/status` shows it, with a page of its commands. `jobs`: None if it keeps none;
    `jobs_error`: why, if it was to keep some. `unready_commands`: of the settings' `ready_commands`, those that no
    worker has served yet."""

    version: str
    state: str
    unready_commands: list[str]
    uptime_s: float
    strategy: str
    worker_count: int
    requester_count: int
    submitted_count: int
    in_flight_count: int
    queued_count: int
    refused: Mapping[str, int]
    counts: dict[str, int]
    outcomes: dict[str, int]
    commands: list[CommandRow]
    commands_count: int
    next: str | None
    jobs: JobsStatus | None
    jobs_error: str | None


class WorkerLoad(Protocol):
    """What a scrape reads of a connected worker, at the moment at which it writes the row."""

    @property
    def worker_id(self) -> str: ...

    @property
    def in_flight_count(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    @property
    def speed(self) -> float:
        """Learned from durations: 1 is as fast as its peers."""

    def ended_counts(self) -> tuple[int, int]:
        """Assignments that it ended with a result, and otherwise."""


class CommandReading:
    """One command, or all of those together that have no rows of their own (`is_other`): each number is that of the
    moment at which it is read.

    `outcomes`: ended requests by outcome; empty if there was none. `duration`: from admission to outcome, with
    `exemplars` for its buckets. `queue_wait`: of requests that waited for a slot. `worker_duration`: from sending the
    assignment that was answered to its response; `broker_duration`: in the broker itself, of the same requests.
    """

    __slots__ = (
        "_counted",
        "_queues",
        "broker_duration",
        "duration",
        "exemplars",
        "is_other",
        "name",
        "outcomes",
        "queue_wait",
        "worker_duration",
    )

    def __init__(self, counted: Command, queues: Sequence[Command], *, is_other: bool = False) -> None:
        """`counted` counts what has ended; `queues` have the requests that wait."""
        self._counted = counted
        self._queues = queues
        self.name = counted.name
        self.is_other = is_other
        self.outcomes: Mapping[str, int] = counted.outcomes
        self.duration: Histogram = counted.duration
        self.exemplars: Exemplars = counted.exemplars
        self.queue_wait: Histogram = counted.queue_wait
        self.worker_duration: Histogram = counted.worker_duration
        self.broker_duration: Histogram = counted.broker_duration

    @property
    def queued_count(self) -> int:
        """Requests that wait for a slot."""
        return sum(command.waiting_count for command in self._queues)

    @property
    def is_overloaded(self) -> bool:
        """Requests come faster than they are done, for any of them."""
        return any(command.route.waiting.is_overloaded for command in self._queues)

    @property
    def workers_count(self) -> int:
        """Connected workers that serve it and do not drain. Not for all others together: it would count some twice."""
        return _workers_count(self._counted)

    @property
    def slots_count(self) -> int:
        """The slots of these workers, free or not."""
        pool = self._counted.route.pool
        return 0 if pool is None else pool.slots_count


class Subjects:
    """The commands and workers of one scrape, settled when it starts: it gives way to other work between its rows, and
    workers and commands that come or go meanwhile must not disturb it. The numbers themselves are read row by row.

    `model`: all else. `commands` have rows of their own; what has been counted of all others is in the last of them,
    OTHER, if there are any. `gather` must be exhausted before that one is read.
    """

    __slots__ = ("_other", "_unlisted", "commands", "model", "workers")

    def __init__(self, model: "ReadModel", core: Core) -> None:
        self.model = model
        known = core.roster.commands.values()
        self._unlisted = tuple(command for command in known if not command.is_listed)
        self.workers: tuple[WorkerLoad, ...] = tuple(core.roster.workers.values())
        self.commands = [CommandReading(command, (command,)) for command in known if command.is_listed]
        self._other = Command(OTHER)
        forgotten = core.roster.directory.forgotten
        if self._unlisted or forgotten.outcomes:
            self._other.absorb(forgotten)
            self.commands.append(CommandReading(self._other, self._unlisted, is_other=True))

    def gather(self) -> Iterator[None]:
        """Count what those without rows of their own have counted under OTHER, in steps."""
        for command in self._unlisted:
            self._other.absorb(command)
            yield


class ReadModel:
    """Everything that may be known about one broker. `strategy`: the name of the one that picks workers unless the
    settings name another for a command; `loop_lag`: see loop_lag.py; `http_counts`: to which the HTTP port adds;
    `jobs`: None if the broker keeps none; `jobs_error`: why, if it was to keep some; `links`: None until it starts;
    `connections`: those that are open; `hub`: that of topics."""

    def __init__(
        self,
        core: Core,
        workers: Port[WorkerSession],
        requesters: Port[RequesterSession],
        entrance: Entrance,
        loop_lag: Histogram,
        *,
        hub: Hub,
        version: str,
        strategy: str,
        ready_commands: Iterable[str] = (),
        others: Sequence[Port[Any]] = (),
    ) -> None:
        self.version = version
        self._reading = asyncio.Lock()
        """Held by whatever reads long lists, so that others wait for one slice at most."""
        self._unready = dict.fromkeys(ready_commands)
        self.jobs: JobReading | None = None
        self.jobs_error: str | None = None
        self.links: LinkGroup | None = None
        self.strategy = strategy
        self.loop_lag = loop_lag
        self.http_counts = HttpCounts()
        self.hub = hub
        self._core = core
        self._workers = workers
        self._requesters = requesters
        self._ports: tuple[Port[Any], ...] = (workers, requesters, *others)
        self._entrance = entrance
        self.connections = ConnectionReading(entrance.connections, self._reading)
        self._started_at = time.monotonic()

    @property
    def state(self) -> str:
        """`starting` until all `ready_commands` were served, then `serving`; `draining` if it takes no more
        requests."""
        if self._core.is_draining:
            return "draining"
        return "starting" if self.unready_commands() else "serving"

    def unready_commands(self) -> list[str]:
        """Those of the settings' `ready_commands` that no worker has served yet. One that was served once is ready for
        good: without the broker, the requests of all other commands would fail as well."""
        known = self._core.roster.commands
        for name in tuple(self._unready):
            if name in known and known[name].route.pool is not None:
                del self._unready[name]
        return list(self._unready)

    @property
    def log_dropped_count(self) -> int:
        """Lines of this program's log that were dropped."""
        return dropped_count()

    def totals(self) -> Totals:
        core, counts = self._core, self._core.counts
        return Totals(
            submitted_count=counts.submitted_count,
            in_flight_count=counts.in_flight_count,
            queued_count=core.queue.count,
            queue_size_bytes=core.queue.size_bytes,
            assigned_size_bytes=core.kept_data.size_bytes,
            unserved_count=core.roster.unserved_count,
            retried_count=counts.retried_count,
            given_up_count=core.kept_data.given_up_count,
            reassigned_count=counts.reassigned_count,
            hedged_count=counts.hedged_count,
            hedges_won_count=counts.hedges_won_count,
            shed_count=core.queue.shed_count,
            yielded_count=counts.yielded_count,
            late_responses_count=counts.late_responses_count,
            unknown_assignments_count=counts.unknown_assignments_count,
            readmitted_count=core.health.ejections.readmitted_count,
            refused=counts.refused,
            ejected=core.health.ejections.counts,
        )

    @property
    def access(self) -> AccessTotals:
        counts, at_gates = self._entrance.counts, self._entrance.access_counts
        return AccessTotals(
            logins=counts.logins,
            ended=counts.ended,
            kicked={port.name: counts.kicked[port.name] for port in self._ports},
            forbidden=at_gates.forbidden,
            limited={
                **{limit.value: count for limit, count in at_gates.limited.items()},
                "account_in_flight_count_max": self._core.counts.account_refused_count,
                "account_waiting_size_bytes_max": self._core.queue.account_refused_count,
            },
            http_refused=counts.http_refused,
        )

    def ports(self) -> tuple[PortRow, ...]:
        """The port of workers, that of requesters, and the others that speak WebSocket."""
        return tuple(PortRow(port.name, len(port.sessions), port.counts) for port in self._ports)

    @property
    def unsent_size_bytes(self) -> int:
        """What waits for peers that do not read it."""
        return 0 if self.links is None else self.links.unsent_size_bytes

    async def commands(self, page: Page) -> CommandsPage:
        """Some of the commands that workers have served."""
        known = self._core.roster.commands
        names, following = page.names(known)
        slices = Slices()
        rows = []
        async with self._reading:
            for name in names:
                if (command := known.get(name)) is not None:
                    rows.append(
                        CommandRow(
                            name,
                            _workers_count(command),
                            command.waiting_count,
                            command.strategy,
                            command.outcomes.copy(),
                        )
                    )
                await slices.give_way()
        return CommandsPage(rows, len(known), following)

    async def _outcomes(self) -> Counter[str]:
        """Those of all requests that have ended."""
        roster = self._core.roster
        outcomes: Counter[str] = Counter(roster.directory.ended_before)
        outcomes.update(roster.unknown.outcomes)
        slices = Slices()
        async with self._reading:
            commands = tuple(roster.commands.values())
            for start in range(0, len(commands), STEP_COUNT):
                for command in commands[start : start + STEP_COUNT]:
                    if command.outcomes:
                        outcomes.update(command.outcomes)
                await slices.give_way()
        return outcomes

    async def status(self, page: Page = Page()) -> Status:  # noqa: B008  immutable
        """Await `jobs.refresh` first, if there are jobs."""
        commands, outcomes = await self.commands(page), await self._outcomes()
        core, totals = self._core, self.totals()
        return Status(
            version=self.version,
            state=self.state,
            unready_commands=self.unready_commands(),
            uptime_s=round(time.monotonic() - self._started_at, 3),
            strategy=self.strategy,
            worker_count=len(core.roster.workers),
            requester_count=len(self._requesters.sessions),
            submitted_count=totals.submitted_count,
            in_flight_count=totals.in_flight_count,
            queued_count=totals.queued_count,
            refused=totals.refused,
            counts={
                "retried": totals.retried_count,
                "reassigned": totals.reassigned_count,
                "hedged": totals.hedged_count,
                "hedges_won": totals.hedges_won_count,
                "shed": totals.shed_count,
                "yielded": totals.yielded_count,
                "ejected": sum(totals.ejected.values()),
                "readmitted": totals.readmitted_count,
                "late_responses": totals.late_responses_count,
            },
            outcomes=outcomes,
            commands=commands.commands,
            commands_count=commands.commands_count,
            next=commands.next,
            jobs=None if self.jobs is None else self.jobs.status(),
            jobs_error=self.jobs_error,
        )

    def workers(self) -> list[WorkerRow]:
        """Every connected worker, at once: for those who know that they are few."""
        now = time.monotonic()
        peers = {session.worker: session.link.peer for session in self._workers.sessions}
        return [_row(worker, peers.get(worker), now) for worker in self._core.roster.workers.values()]

    async def workers_page(self, page: Page) -> WorkersPage:
        """Some of the connected workers."""
        connected = self._core.roster.workers
        names, following = page.names(connected)
        peers = {session.worker: session.link.peer for session in self._workers.sessions}
        slices = Slices()
        rows = []
        async with self._reading:
            for name in names:
                if (worker := connected.get(name)) is not None:
                    row = _row(worker, peers.get(worker), time.monotonic(), COMMANDS_SHOWN_COUNT_MAX)
                    rows.append(row)
                await slices.give_way()
        return WorkersPage(rows, len(connected), following)

    def worker(self, worker_id: str) -> WorkerRow | None:
        """One of them, with all of its commands."""
        worker = self._core.roster.workers.get(worker_id)
        if worker is None:
            return None
        peers = (session.link.peer for session in self._workers.sessions if session.worker is worker)
        return _row(worker, next(peers, None), time.monotonic())

    def worker_states(self) -> dict[str, int]:
        """How many connected workers are in each of WORKER_STATES."""
        counts = Counter(worker.state.value for worker in self._core.roster.workers.values())
        return {state: counts[state] for state in WORKER_STATES}

    def requests(self, request_id: str) -> list[dict[str, Any]]:
        """The requests in flight under an id, and why they are where they are (see core/explain.py)."""
        return explain(self._core, request_id, time.monotonic())

    def longest_waiting(self) -> list[dict[str, Any]]:
        """The requests that have waited longest for a free slot, a screenful of them."""
        return longest_waiting(self._core, time.monotonic())

    def longest_running(self) -> list[dict[str, Any]]:
        """The requests that have run longest, a screenful of them."""
        return longest_running(self._core, time.monotonic())

    def recent_failures(self) -> list[dict[str, Any]]:
        """The last failures of each command and code, a screenful of them."""
        return recent_failures(self._core, time.monotonic())

    def subjects(self) -> Subjects:
        """What a scrape that starts now is about."""
        return Subjects(self, self._core)


def _workers_count(command: Command) -> int:
    pool = command.route.pool
    return 0 if pool is None else len(pool.members)


def _row(worker: Worker, peer: str | None, now: float, commands_count_max: int | None = None) -> WorkerRow:
    succeeded_count, failed_count = worker.ended_counts()
    return WorkerRow(
        worker_id=worker.worker_id,
        identity=worker.identity,
        state=worker.state.value,
        reason=worker.reason or None,
        commands=[command.name for command in islice(worker.commands, commands_count_max)],
        commands_count=len(worker.commands),
        concurrency=worker.concurrency,
        in_flight=worker.in_flight_count,
        weight=worker.declared_weight,
        speed=round(worker.speed, 2),
        labels=worker.labels,
        peer=peer,
        encoding=worker.port.encoding.value,
        connected_s=round(now - worker.connected_at, 3),
        sdk=worker.sdk,
        succeeded_count=succeeded_count,
        failed_count=failed_count,
        ejections_count=worker.record.ejections_count,
    )
