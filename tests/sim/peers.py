"""Workers and requesters of all kinds, most of them bad: slow, silent, lying, restless."""

import random
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw
from taskferry.protocol.messages import Hello, Result

from tests.sim.access import REQUESTER_NAMES, WORKER_NAMES
from tests.sim.broker import CANARY, SimulatedBroker
from tests.sim.network import Clock, Wire

COMMANDS: Final = ("a", "b", "c")
TARGETS: Final[tuple[str | dict[str, str | list[str]] | None, ...]] = (
    None,
    None,
    None,
    None,
    "w0",
    "w1",
    {"zone": "a"},
    {"zone": ["b", "c"]},
)

DURATION_S: Final = {
    "fast": (0.001, 0.05),
    "slow": (0.2, 4.0),
    "restless": (0.01, 0.5),
    "lying": (0.001, 0.2),
    "failing": (0.001, 0.01),
    "sick": (0.001, 0.05),
}
"""How long a handler runs, by the kind of its worker. `failing` always fails, `sick` in its first SICK_S seconds. One
more kind, `black hole`, never answers."""
SICK_S: Final = 3.0
KINDS: Final = (*DURATION_S, "black hole")


@dataclass(slots=True)
class Sent:
    """One request as its requester knows it. `answers` are the responses, with their times."""

    request_id: str
    command: str
    sent_at: float
    timeout_s: float
    is_idempotent: bool
    is_hedged: bool
    target: str | dict[str, str | list[str]] | None
    is_cancelled: bool = False
    answers: list[tuple[float, str, str, str | None, str | None]] = field(default_factory=list)


@dataclass(slots=True)
class Records:
    """What really happened, for the checks at the end: requests by request_id, the workers that ran each, and the
    worker of each msg_id."""

    sent: dict[str, Sent] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)
    msg_ids: list[tuple[str, str]] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)

    def note(self, at: float, text: str) -> None:
        self.trace.append(f"{at:9.4f}  {text}")


class SimulatedWorker:
    """A worker process: connects, runs its assignments, and reconnects after it has lost its link, until it retires."""

    def __init__(
        self, number: int, broker: SimulatedBroker, records: Records, chance: random.Random, ends_at: float
    ) -> None:
        self.worker_id = f"w{number}"
        self.name = chance.choice(WORKER_NAMES)
        self.kind = chance.choice(KINDS)
        self._broker = broker
        self._clock: Clock = broker.clock
        self._records = records
        self._random = chance
        self._ends_at = ends_at
        self._connection_count = 0
        self._running: set[str] = set()
        self._well_at = self._clock.now + SICK_S
        self._hello = Hello(
            commands=chance.sample(COMMANDS, chance.randint(1, len(COMMANDS))),
            name=self.worker_id,
            instance=chance.choice([None, "one"]),
            concurrency=chance.randint(1, 4),
            weight=chance.choice([0.5, 1.0, 2.0]),
            labels={"zone": chance.choice("ab")},
            canary=chance.choice([None, None, CANARY]),
        )
        self._clock.call_later(chance.uniform(0, 1), self._connect)

    # --- its link ---

    def _connect(self) -> None:
        if self._clock.now >= self._ends_at:
            return
        self._connection_count += 1
        self._running = set()
        self._is_connected = True
        self._wire = self._broker.connect_worker(self, self.name)
        self._note(f"connects ({self.kind})")
        self._wire.send_to_broker(("connect", self.worker_id, self._hello))
        self._clock.call_at(self._ends_at, self._while_connected(self._wire, self._retire))
        if self._random.random() < 0.7:
            what = self._random.choice([self._die, self._pull_the_cable, self._drain, self._read_nothing])
            self._clock.call_later(self._random.uniform(0.05, 3), self._while_connected(self._wire, what))

    def _while_connected(self, wire: Wire, call: Any) -> Any:
        return lambda: call() if wire is self._wire and self._is_connected else None

    def received(self, message: Any) -> None:
        match message:
            case ("assign", msg_id, request_id, command, timeout_s):
                serves = [*self._hello.commands, self._hello.canary]
                assert command in serves, f"{self.worker_id} does not serve {command}"
                assert len(self._running) < self._hello.concurrency, (
                    f"{self.worker_id} got more assignments than it has slots"
                )
                assert timeout_s > 0
                self._running.add(msg_id)
                self._records.msg_ids.append((msg_id, self.worker_id))
                if request_id != CANARY:
                    self._check_target(request_id)
                    self._records.runs.setdefault(request_id, []).append(self.worker_id)
                self._note(f"runs {request_id} as {msg_id}")
                self._run(msg_id, request_id)
            case ("cancel", msg_id) if self._random.random() < 0.5 and self.kind != "black hole":
                self._respond(self._wire, msg_id, Result(False, error="cancelled", code="cancelled"))

    def _check_target(self, request_id: str) -> None:
        sent = self._records.sent.get(request_id)  # None if its requester has left
        match sent and sent.target:
            case str(worker_id):
                assert worker_id == self.worker_id, f"{request_id} is not for {self.worker_id}"
            case {"zone": zones}:
                assert self._hello.labels["zone"] in zones, f"{request_id} is not for {self.worker_id}"

    def lost(self) -> None:
        self._note("loses its link")
        self._is_connected = False
        self._clock.call_later(self._random.uniform(0.01, 1), self._connect)

    # --- its work ---

    def _run(self, msg_id: str, request_id: str) -> None:
        if self.kind == "black hole":
            return
        duration_s = self._random.uniform(*DURATION_S[self.kind])
        is_sick = self.kind == "sick" and self._clock.now < self._well_at
        if self.kind == "failing" or is_sick or (self._random.random() < 0.2 and request_id != CANARY):
            code = self._random.choice(("own_code", "own_code", "worker_lost"))
            result = Result(False, error="no", code=code)
        else:
            result = Result(True, Raw(f'"{request_id} by {self.worker_id}"'.encode()))
        wire = self._wire
        self._clock.call_later(duration_s, lambda: self._respond(wire, msg_id, result))
        if self.kind == "lying":
            self._clock.call_later(duration_s / 2, lambda: self._lie(wire))
            self._clock.call_later(duration_s * 2, lambda: wire.send_to_broker(("response", msg_id, result)))

    def _respond(self, wire: Wire, msg_id: str, result: Result) -> None:
        if wire is self._wire and msg_id in self._running:
            self._running.remove(msg_id)
            wire.send_to_broker(("response", msg_id, result))

    def _lie(self, wire: Wire) -> None:
        """Answer an assignment of another worker, or one that does not exist."""
        claimed, owner = self._random.choice([*self._records.msg_ids, ("never given", "nobody")])
        if owner != self.worker_id:
            wire.send_to_broker(("response", claimed, Result(True, Raw(b'"a lie"'))))

    # --- what can happen to it ---

    def _die(self) -> None:
        self._note("is killed")
        self._is_connected = False
        self._wire.close("peer")
        self._clock.call_later(self._random.uniform(0.01, 2), self._connect)

    def _pull_the_cable(self) -> None:
        self._note("loses its network")
        wire = self._wire
        wire.fall_silent()
        if self._hello.instance is not None and self._random.random() < 0.5:
            # It notices first, and reconnects before the broker has noticed.
            self._clock.call_later(self._random.uniform(0.5, 4), self._while_connected(wire, self._come_back))

    def _come_back(self) -> None:
        self._wire.close("peer")
        self._connect()

    def _drain(self) -> None:
        self._note("says disconnect")
        self._wire.send_to_broker(("disconnect",))
        self._clock.call_later(self._random.uniform(0, 3), self._while_connected(self._wire, self._die))

    def _read_nothing(self) -> None:
        self._note("reads nothing for a while")
        wire, seconds = self._wire, self._random.uniform(0.1, 5)
        wire.stall(seconds)
        if self._random.random() < 0.5:
            self._clock.call_later(seconds * self._random.random(), self._while_connected(wire, self._die))

    def _retire(self) -> None:
        self._note("retires")
        self._is_connected = False
        self._wire.close("peer")

    def _note(self, text: str) -> None:
        self._records.note(self._clock.now, f"{self.worker_id}.{self._connection_count} {text}")


class SimulatedRequester:
    """A requester process: sends requests, cancels some, loses its link, reconnects."""

    def __init__(
        self,
        number: int,
        broker: SimulatedBroker,
        records: Records,
        chance: random.Random,
        *,
        request_count: int,
        sends_until: float,
    ) -> None:
        self.number = number
        self.name = chance.choice(REQUESTER_NAMES)
        self._is_retired = False
        self._broker = broker
        self._clock = broker.clock
        self._records = records
        self._random = chance
        self._left_count = request_count
        self._sends_until = sends_until
        self._sent_count = 0
        self._connect()

    def _connect(self) -> None:
        self._open: dict[str, Sent] = {}
        self._is_connected = True
        self._wire = wire = self._broker.connect_requester(self, self.name)
        self._clock.call_later(self._random.uniform(0, 1), lambda: self._go_on(wire))

    def _go_on(self, wire: Wire) -> None:
        is_over = self._left_count == 0 or self._clock.now >= self._sends_until
        if is_over or wire is not self._wire or not self._is_connected:
            return
        what = self._random.random()
        if what < 0.9:
            self._submit()
        elif what < 0.96 and self._open:
            self._cancel(self._random.choice(list(self._open)))
        elif what < 0.98:
            self._leave()
            return
        self._clock.call_later(self._random.expovariate(1 / 0.1), lambda: self._go_on(wire))

    def _submit(self) -> None:
        self._left_count -= 1
        self._sent_count += 1
        chance = self._random
        is_idempotent = chance.random() < 0.5
        hedge = chance.choice([None, 0.02, 0.2, "p50"]) if is_idempotent else None
        sent = Sent(
            f"q{self.number}-{self._sent_count}",
            chance.choice([*COMMANDS, *COMMANDS, *COMMANDS, "nobody-serves-this"]),
            self._clock.now,
            chance.choice([0.05, 1.0, 5.0, 20.0]),
            is_idempotent,
            hedge is not None,
            chance.choice(TARGETS),
        )
        self._records.sent[sent.request_id] = self._open[sent.request_id] = sent
        fields = {
            "timeout_s": sent.timeout_s,
            "idempotent": sent.is_idempotent,
            "hedge_after": hedge,
            "target": sent.target,
            "priority": chance.randint(0, 9),
        }
        self._note(f"sends {sent.request_id}: {sent.command} {fields}")
        self._wire.send_to_broker(("submit", sent.request_id, sent.command, fields))

    def _cancel(self, request_id: str) -> None:
        self._note(f"cancels {request_id}")
        self._open[request_id].is_cancelled = True
        self._wire.send_to_broker(("cancel", request_id))

    def _leave(self) -> None:
        self._note("leaves")
        self._drop_open()
        self._wire.close("peer")
        self._connect()

    def _drop_open(self) -> None:
        """Requests that are still open will never be answered, so they are no longer checked."""
        for request_id in self._open:
            del self._records.sent[request_id]
        self._open = {}

    def received(self, message: Any) -> None:
        request_id, outcome, data, worker_id, delivery = message
        self._note(f"receives {message}")
        self._records.sent[request_id].answers.append((self._clock.now, outcome, data, worker_id, delivery))
        self._open.pop(request_id, None)

    def lost(self) -> None:
        """The broker has closed the link: its login has ended, or it may not connect."""
        self._note("loses its link")
        self._is_connected = False
        self._drop_open()
        self._clock.call_later(self._random.uniform(0.01, 1), self._come_back)

    def _come_back(self) -> None:
        if not self._is_retired:
            self._connect()

    def retire(self) -> None:
        self._is_retired = True
        self._wire.close("peer")

    def _note(self, text: str) -> None:
        self._records.note(self._clock.now, f"q{self.number} ({self.name}) {text}")
