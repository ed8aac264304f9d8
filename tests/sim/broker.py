"""The real core with simulated wires and one simulated timer around it."""

import random
from collections import Counter
from typing import Any

from msgspec import Raw, UnsetType
from taskferry.broker.access.gate import Gate
from taskferry.broker.core.call import Call
from taskferry.broker.core.core import Core
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.worker import Worker
from taskferry.broker.core.invariants import check_invariants
from taskferry.broker.core.ports import CancelReason, Piece
from taskferry.broker.core.request import Request
from taskferry.broker.core.settings import CoreSettings
from taskferry.broker.event_log import EventLog
from taskferry.broker.worker_offer import offer_of
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import WorkerIdTaken
from taskferry.protocol.messages import Hello, Result

from tests.sim.access import SimulatedAccess
from tests.sim.network import Clock, Endpoint, Wire

CANARY = "canary"
"""The request_id of a canary."""
TIMER_LATE_S_MAX = 0.002
"""How late a timer may fire."""


class SimulatedBroker:
    """Advances the core when it asks to be, and checks its invariants after every call."""

    def __init__(self, clock: Clock, chance: random.Random, strategy: str, settings: CoreSettings) -> None:
        self.clock = clock
        self.random = chance
        choice = StrategyChoice(strategy, {}, STRATEGIES, chance.random)
        self.core = Core(settings, choice, EventLog())
        self.access = SimulatedAccess(chance)
        self.ends: dict[RequesterEnd | WorkerEnd, None] = {}
        self.leaving: set[RequesterEnd | WorkerEnd] = set()
        """Those that a reload which goes on has found without a right that they use."""
        """The broker's ends of all connections that were accepted and are open."""
        self.requests_cut_count = 0
        """Requests in flight when their requester's login ended."""
        self.assignments_cut_count = 0
        """Assignments that a worker had when its login ended."""
        self.recovered_count = 0
        """Those of them that went to another worker at once, or waited for one."""
        self._wakes_at = float("inf")

    def connect_worker(self, peer: Endpoint, name: str) -> Wire:
        return self._connect(peer, WorkerEnd(self, name))

    def connect_requester(self, peer: Endpoint, name: str) -> Wire:
        return self._connect(peer, RequesterEnd(self, name))

    def _connect(self, peer: Endpoint, end: "RequesterEnd | WorkerEnd") -> Wire:
        end.wire = Wire(self.clock, self.random, peer, end)
        gate = self.access.gate(end.name, self.clock.now)
        if gate is None:
            end.wire.close("broker")
        else:
            self.ends[end] = None
            end.opened(gate)
        return end.wire

    def called(self) -> None:
        """Call this after each call to the core."""
        check_invariants(self.core)
        self._check_access()
        at = self.core.next_at
        if at < self._wakes_at:
            self._wakes_at = at
            self.clock.call_at(at + self.random.uniform(0, TIMER_LATE_S_MAX), lambda: self._wake(at))

    def reload(self) -> str:
        """The access file has changed, and every connection is judged again. Returns what has changed.

        Those that must close get nothing more before the first of them is closed. Otherwise its assignments would go to
        the next of them, and be lost again.
        """
        what = self.access.change(self.clock.now)
        leaving = [end for end in self.ends if not self._may_stay(end)]
        self.leaving.update(leaving)
        for end in leaving:
            end.login_ends()
        for end in leaving:
            end.end_login()
        self.leaving.clear()
        self.called()
        return what

    def _may_stay(self, end: "RequesterEnd | WorkerEnd") -> bool:
        standing = self.access.standings.get(end.name)
        if standing is None:
            return False
        identity = self.access.identity(end.name)
        lost = end.gate.lost(identity.rights)
        assert (lost is None) == standing.has(end.called, end.served), f"{lost}, and may {standing}"
        if lost is None:
            end.gate.renew(identity)
        return lost is None

    def expire(self) -> None:
        """The login of one connection runs out."""
        if self.ends:
            self.random.choice(tuple(self.ends)).end_login()
            self.called()

    def _check_access(self) -> None:
        """Every open connection may be open, and is counted once."""
        for end in self.ends:
            standing = self.access.standings[end.name]
            assert standing.has(end.called, end.served), f"{end.name} may {standing}"
        by_usage = Counter(end.gate.usage for end in self.ends)
        for name in self.access.standings:
            usage = self.access.usages.of(name, self.access.standings[name].limits, self.clock.now)
            assert usage.connections_count == by_usage.pop(usage, 0)
        assert not by_usage
        assert {requester.port for requester in self.core.requesters} <= set(self.ends)
        assert {worker.port for worker in self.core.roster.workers.values()} <= set(self.ends)

    def operate(self, worker_id: str, *, undo: bool) -> None:
        """An operator drains a worker, or undoes that, if it is connected."""
        worker = self.core.roster.workers.get(worker_id)
        if worker is not None:
            change = self.core.resume_worker if undo else self.core.drain_worker
            change(worker, self.clock.now)
            self.called()

    def _wake(self, at: float) -> None:
        if at == self._wakes_at:
            self._wakes_at = float("inf")
            self.core.advance(self.clock.now)
            self.called()


class RequesterEnd:
    """The broker's end of a requester's wire: the core's port to it. `called`: the commands that it has called."""

    encoding = Encoding.JSON
    wire: Wire
    gate: Gate

    def __init__(self, broker: SimulatedBroker, name: str) -> None:
        self.name = name
        self.called: set[str] = set()
        self.served: set[str] = set()
        self._broker = broker

    def opened(self, gate: Gate) -> None:
        self.gate = gate
        self._requester = self._broker.core.requester_joined(self, gate.account)

    def received(self, message: Any) -> None:
        now = self._broker.clock.now
        match message:
            case ("submit", request_id, command, fields):
                call = Call(request_id, command, Raw(b"{}"), **fields)
                failure = self._refusal(call)
                if failure is None:
                    self._broker.core.submit(self._requester, call, now)
                else:
                    self._broker.core.refuse(self._requester, request_id, failure)
            case ("cancel", request_id):
                self._broker.core.cancel(self._requester, request_id, now)
        self._broker.called()

    def _refusal(self, call: Call) -> Failure | None:
        """Why the core does not get to see a call, as in a session of the broker."""
        gate = self.gate
        if gate.usage.is_metered:
            failure = gate.usage.spend(len(call.data), self._broker.clock.now)
            if failure is not None:
                return failure
        may_call = self._broker.access.standings[self.name].may_call(call.command, call.target)
        allowed = gate.allowed
        assert allowed is not None
        if call.command not in allowed or call.target is not None:
            failure = gate.call(call.command, call.target)
            assert (failure is None) == may_call
            if call.command in allowed:
                self.called.add(call.command)
            return failure
        assert may_call
        return None

    def lost(self) -> None:
        self._leave()
        self._broker.called()

    def login_ends(self) -> None:
        """Its login is about to end."""

    def end_login(self) -> None:
        """Its login was revoked, has run out, or lost a right: nothing of it goes on."""
        self._broker.requests_cut_count += len(self._requester.requests)
        self._leave()
        self.wire.close("broker")

    def _leave(self) -> None:
        del self._broker.ends[self]
        requests = tuple(self._requester.requests.values())
        self._broker.core.requester_left(self._requester, self._broker.clock.now)
        assert not self._requester.requests
        assert not any(request.assignment or request.hedge or request.is_waiting for request in requests)
        self.gate.usage.release_connection()

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        assert self in self._broker.ends, "nothing is sent once a login has ended"
        assert not isinstance(result, UnsetType)
        self.wire.send_to_peer((request_id, "success", bytes(result).decode(), worker_id, None))

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        assert self in self._broker.ends, "nothing is sent once a login has ended"
        self.wire.send_to_peer((request_id, failure.code, failure.text, worker_id, failure.delivery))

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        raise AssertionError("only attempts are followed")

    def progress(self, request_id: str, report: Piece) -> None:
        raise AssertionError("no worker here reports any")

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        raise AssertionError("no request here has a stream")

    def reset(self, request_id: str, attempt: int) -> None:
        """Its request runs again."""


class WorkerEnd:
    """The broker's end of a worker's wire: the core's port to it. `served`: the commands that it serves."""

    encoding = Encoding.JSON
    wire: Wire
    gate: Gate

    def __init__(self, broker: SimulatedBroker, name: str) -> None:
        self.name = name
        self.called: set[str] = set()
        self.served: set[str] = set()
        self._broker = broker
        self._worker: Worker | None = None

    def opened(self, gate: Gate) -> None:
        self.gate = gate

    @property
    def written_count(self) -> int:
        return self.wire.written_count

    def received(self, message: Any) -> None:
        core, now = self._broker.core, self._broker.clock.now
        match message:
            case ("connect", str(worker_id), Hello() as hello):
                self._connect(worker_id, hello, now)
            case ("response", msg_id, Result() as result) if self._worker is not None:
                if result.success:
                    core.succeeded(self._worker, msg_id, result.result, now)
                else:
                    core.failed(self._worker, msg_id, result.error, result.code, now)
            case ("disconnect",) if self._worker is not None:
                core.worker_draining(self._worker, now)
            case ("silence",) if self._worker is not None:
                core.worker_silent(self._worker, now)
        self._broker.called()

    def _connect(self, worker_id: str, hello: Hello, now: float) -> None:
        serves = self._broker.access.standings[self.name].serves
        failures = self.gate.serve(hello.commands)
        assert self.gate.served == [command for command in hello.commands if command in serves]
        assert len(failures) == len(hello.commands) - len(self.gate.served)
        self.served = set(self.gate.served)
        offer = offer_of(hello, self.gate.served)
        try:
            if self.served:
                self._worker = self._broker.core.worker_joined(worker_id, offer, self, self.name, now)
                return
        except WorkerIdTaken:
            pass
        self._leave()
        self.wire.close("broker")

    def lost(self) -> None:
        self._leave()
        self._broker.called()

    def login_ends(self) -> None:
        """Its login is about to end: it gets nothing more."""
        if self._worker is not None:
            self._broker.core.worker_draining(self._worker, self._broker.clock.now)

    def end_login(self) -> None:
        """Its login was revoked, has run out, or lost a right: what it has is lost with it."""
        held = [] if self._worker is None else list(self._worker.assignments.values())
        requests = [assignment.request for assignment in held if assignment.request is not None]
        self._leave()
        self.wire.close("broker")
        self._broker.assignments_cut_count += len(held)
        self._broker.recovered_count += sum(
            request.is_waiting or request.assignment is not None for request in requests
        )

    def _leave(self) -> None:
        del self._broker.ends[self]
        worker, self._worker = self._worker, None
        if worker is not None:
            self._broker.core.worker_left(worker, self._broker.clock.now)
        self.gate.usage.release_connection()

    def welcome(self, worker_id: str) -> None:
        self.wire.send_to_peer(("welcome",))

    def assign(self, msg_id: str, request: Request, timeout_s: float) -> int:
        assert request.command.name in self.served, f"{self.name} may not serve {request.command.name}"
        if self not in self._broker.leaving:  # if it is, another one that leaves has just handed its work on
            assert self._broker.access.standings[self.name].has(set(), {request.command.name})
        return self.wire.send_to_peer(
            ("assign", msg_id, request.call.request_id, request.command.name, timeout_s)
        )

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        return self.wire.send_to_peer(("assign", msg_id, CANARY, command, timeout_s))

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        self.wire.send_to_peer(("cancel", msg_id))

    def credit(self, msg_id: str, sequence: int) -> None:
        raise AssertionError("no request here has a stream")

    def replaced(self) -> None:
        self._worker = None
        self._leave()
        self.wire.close("broker")
