"""Gathers over the real core of a fake world, and a requester that keeps what it is sent."""

from typing import Any

import msgspec
from msgspec import Raw
from taskferry.broker.core.call import Call
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.invariants import check_invariants
from taskferry.broker.gather.gathers import Gathers
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.gather_messages import Gather, ItemMessage
from taskferry.protocol.messages import Response

from tests.unit.broker.core.world import FakeWorker, World

LIBRARIES: dict[Encoding, Any] = {Encoding.JSON: msgspec.json, Encoding.MSGPACK: msgspec.msgpack}


class Asker:
    """A requester that gathers. `answers` and `failures` by request_id; `items` as they came."""

    def __init__(self, rig: "Rig", encoding: Encoding = Encoding.JSON) -> None:
        self.rig = rig
        self.encoding = encoding
        self.session = rig.world.requester(rig.world.account("gatherer")).session
        self.answers: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        self.failures: dict[str, Failure] = {}
        self.items: list[dict[str, Any]] = []
        self.sequences: list[int] = []

    def answer(self, message: object) -> None:
        value = LIBRARIES[self.encoding].decode(CODECS[self.encoding].encode(message))
        if isinstance(message, ItemMessage):
            self.items.append(value["item"])
            self.sequences.append(value["sequence"])
        else:
            assert isinstance(message, Response)
            assert message.request_id not in {*self.answers, *self.failures}, "answered once"
            assert (value["success"], value["error"], value["processed_by"]) == (True, None, None)
            self.answers[message.request_id] = value["data"]
            self.sizes[message.request_id] = len(message.data)

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        assert request_id is not None
        assert request_id not in {*self.answers, *self.failures}, "answered once"
        self.failures[request_id] = failure

    def gather(
        self,
        request_id: str = "g",
        *,
        expect: Any = "all",
        batch: Any = None,
        command: str = "echo",
        data: bytes = b"{}",
        timeout: float | None = 10.0,
        streams: bool = False,
        **fields: Any,
    ) -> None:
        """Send a gather, and let the turn end. What does not begin is among the failures."""
        call = Call(request_id, command, Raw(data), timeout, **fields)
        now = self.rig.world.now
        wish = Gather(expect, batch)
        failure = self.rig.gathers.open(self, self.session, call, wish, now, streams=streams)
        if failure is not None:
            self.failures[request_id] = failure
        self.rig.end_turns()


class GatherWorld(World):
    """One whose calls are also made by gathers, which the world does not count."""

    def check(self) -> None:
        check_invariants(self.core)


class Rig:
    """`end_turns` does what the event loop does between two calls of the world."""

    def __init__(self, size_bytes_max: int = 100_000, **settings: Any) -> None:
        self.world = GatherWorld(**settings)
        self.turns_count = 0
        self.is_awake = False
        self.gathers = Gathers(self.world.core, size_bytes_max, self._wake)

    def _wake(self) -> None:
        self.is_awake = True

    def workers(self, *names: str, **offer: Any) -> list[FakeWorker]:
        return [self.world.worker(name, **offer) for name in names]

    def end_turns(self) -> None:
        while self.is_awake:
            self.is_awake = False
            self.gathers.turn_ended(self.world.now)
            self.turns_count += 1
            self.world.check()

    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds)
        self.end_turns()

    def check_nothing_is_left(self) -> None:
        self.end_turns()
        assert self.gathers.held_size_bytes == 0
        assert self.gathers.open_count == self.gathers.asked_count == 0
        assert all(not requester.names_workers for requester in self.world.core.requesters)


def asked(worker: FakeWorker) -> str:
    """The request_id of the one assignment that a worker holds."""
    (request_id,) = worker.holds
    return request_id
