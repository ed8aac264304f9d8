"""The real core with simulated wires and one simulated timer around it."""

import random
from typing import Any

from msgspec import Raw, UnsetType
from taskferry.broker.core.account import unlimited
from taskferry.broker.core.call import Call
from taskferry.broker.core.core import Core
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.worker import Worker
from taskferry.broker.core.invariants import check_invariants
from taskferry.broker.core.ports import CancelReason
from taskferry.broker.core.request import Request
from taskferry.broker.core.settings import CoreSettings
from taskferry.broker.event_log import EventLog
from taskferry.broker.worker_session import offer_of
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import WorkerIdTaken
from taskferry.protocol.messages import Hello, Result

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
        self._wakes_at = float("inf")

    def connect_worker(self, peer: Endpoint) -> Wire:
        session = WorkerEnd(self)
        session.wire = Wire(self.clock, self.random, peer, session)
        return session.wire

    def connect_requester(self, peer: Endpoint) -> Wire:
        session = RequesterEnd(self)
        session.wire = Wire(self.clock, self.random, peer, session)
        return session.wire

    def called(self) -> None:
        """Call this after each call to the core."""
        check_invariants(self.core)
        at = self.core.next_at
        if at < self._wakes_at:
            self._wakes_at = at
            self.clock.call_at(at + self.random.uniform(0, TIMER_LATE_S_MAX), lambda: self._wake(at))

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
    """The broker's end of a requester's wire: the core's port to it."""

    encoding = Encoding.JSON
    wire: Wire

    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker
        self._requester = broker.core.requester_joined(self, unlimited("anonymous"))

    def received(self, message: Any) -> None:
        now = self._broker.clock.now
        match message:
            case ("submit", request_id, command, fields):
                call = Call(request_id, command, Raw(b"{}"), **fields)
                self._broker.core.submit(self._requester, call, now)
            case ("cancel", request_id):
                self._broker.core.cancel(self._requester, request_id, now)
        self._broker.called()

    def lost(self) -> None:
        self._broker.core.requester_left(self._requester, self._broker.clock.now)
        self._broker.called()

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        assert not isinstance(result, UnsetType)
        self.wire.send_to_peer((request_id, "success", bytes(result).decode(), worker_id, None))

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        self.wire.send_to_peer((request_id, failure.code, failure.text, worker_id, failure.delivery))


class WorkerEnd:
    """The broker's end of a worker's wire: the core's port to it."""

    encoding = Encoding.JSON
    wire: Wire

    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker
        self._worker: Worker | None = None

    @property
    def written_count(self) -> int:
        return self.wire.written_count

    def received(self, message: Any) -> None:
        core, now = self._broker.core, self._broker.clock.now
        match message:
            case ("connect", str(worker_id), Hello() as hello):
                try:
                    self._worker = core.worker_joined(
                        worker_id, offer_of(hello, hello.commands), self, "anonymous", now
                    )
                except WorkerIdTaken:
                    self.wire.close("broker")
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

    def lost(self) -> None:
        if self._worker is not None:
            self._broker.core.worker_left(self._worker, self._broker.clock.now)
            self._broker.called()

    def welcome(self, worker_id: str) -> None:
        self.wire.send_to_peer(("welcome",))

    def assign(self, msg_id: str, request: Request, timeout_s: float) -> int:
        return self.wire.send_to_peer(
            ("assign", msg_id, request.call.request_id, request.command.name, timeout_s)
        )

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        return self.wire.send_to_peer(("assign", msg_id, CANARY, command, timeout_s))

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        self.wire.send_to_peer(("cancel", msg_id))

    def replaced(self) -> None:
        self._worker = None
        self.wire.close("broker")
