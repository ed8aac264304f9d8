"""Gathers in any order with workers that come, go, answer and fail, beside a model of a few lines: what each gather
must answer, and when."""

from dataclasses import dataclass, field
from math import ceil
from typing import Any

from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from taskferry.broker.core.delivery.deadlines import TICK_S

from tests.unit.broker.core.world import FakeWorker
from tests.unit.broker.gather.rig import Asker, Rig

index = st.integers(0, 99)
NAMES = ("t", "u", "v", "w", "x")
counts = st.sampled_from(["all", "all", 1, 2, 3, 0.5, 0.99])


@dataclass
class Expected:
    """`ended`: what each worker of the set has ended with, in order. It is answered at `answered_at`."""

    worker_ids: list[str]
    expect: Any
    batch: Any
    deadline: float
    streams: bool
    ended: dict[str, str] = field(default_factory=dict)
    is_over: bool = False

    def number(self, wish: Any) -> int:
        count = len(self.worker_ids)
        return (
            count if wish == "all" or wish is None else wish if isinstance(wish, int) else ceil(wish * count)
        )

    @property
    def is_met(self) -> bool:
        if self.expect == "all":
            return len(self.ended) == len(self.worker_ids)
        return sum(how == "ok" for how in self.ended.values()) >= self.number(self.expect)

    @property
    def must_be_over(self) -> bool:
        return self.is_met or len(self.ended) == len(self.worker_ids)


class GatherMachine(RuleBasedStateMachine):
    """Each worker has two slots, so that some requests wait."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(start_wait_s=0.0)
        self.asker = Asker(self.rig)
        self.workers: dict[str, FakeWorker] = {}
        self.expected: dict[str, Expected] = {}
        self.count = 0

    @rule(name=st.sampled_from(NAMES))
    def worker_joins(self, name: str) -> None:
        if name not in self.workers:
            self.workers[name] = self.rig.world.worker(name, concurrency=2)
            self.rig.end_turns()

    @rule(
        expect=counts,
        batch=st.one_of(st.none(), counts),
        timeout=st.sampled_from([1.0, 5.0, 60.0]),
        streams=st.booleans(),
    )
    def gather(self, expect: Any, batch: Any, timeout: float, streams: bool) -> None:
        self.count += 1
        request_id = f"g{self.count}"
        self.asker.gather(request_id, expect=expect, batch=batch, timeout=timeout, streams=streams)
        if not self.workers:
            assert self.asker.failures.pop(request_id).code == "no_available_workers"
            return
        deadline = self.rig.world.now + timeout
        self.expected[request_id] = Expected(list(self.workers), expect, batch, deadline, streams)

    @precondition(lambda self: any(worker.holds for worker in self.workers.values()))
    @rule(which=index, succeeds=st.sampled_from([True, True, False]))
    def worker_answers(self, which: int, succeeds: bool) -> None:
        holding = [worker for worker in self.workers.values() if worker.holds]
        worker = holding[which % len(holding)]
        held = worker.holds[which % len(worker.holds)]
        self._ends(held.partition(":")[0], worker.worker_id, "ok" if succeeds else "own_code")
        if succeeds:
            worker.succeed(held, b'"ok"')
        else:
            worker.fail(held, "no", "own_code")
        self.rig.end_turns()

    @precondition(lambda self: self.workers)
    @rule(which=index)
    def worker_leaves(self, which: int) -> None:
        name = list(self.workers)[which % len(self.workers)]
        running = [request_id.partition(":")[0] for request_id in self.workers[name].holds]
        waiting = [
            request_id
            for request_id, expected in self.expected.items()
            if not expected.is_over
            and name in expected.worker_ids
            and name not in expected.ended
            and f"{request_id}:{expected.worker_ids.index(name)}" in self._in_flight()
        ]
        for request_id in dict.fromkeys([*running, *waiting]):
            self._ends(request_id, name, "worker_lost")
        self.workers.pop(name).leave()
        self.rig.end_turns()
        self._sweep()

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.rig.world.now + seconds
        while self.rig.world.now < end:  # turns end as often as anything happens
            self.rig.sleep(min(0.1, end - self.rig.world.now))
        for expected in self.expected.values():
            if not expected.is_over and expected.deadline + TICK_S < end:
                expected.is_over = True

    @precondition(lambda self: any(not expected.is_over for expected in self.expected.values()))
    @rule(which=index)
    def is_cancelled(self, which: int) -> None:
        opened = list(self.rig.gathers.of(self.asker).values())
        if opened:
            gather = opened[which % len(opened)]
            gather.cancel()
            self.rig.end_turns()
            assert self.asker.failures.pop(gather.call.request_id).code == "cancelled"
            del self.expected[gather.call.request_id]

    def _in_flight(self) -> set[str]:
        return {
            request_id for requester in self.rig.world.core.requesters for request_id in requester.requests
        }

    def _ends(self, request_id: str, worker_id: str, how: str) -> None:
        expected = self.expected.get(request_id)
        if expected is not None and not expected.is_over:
            expected.ended[worker_id] = how
            expected.is_over = expected.must_be_over

    def _sweep(self) -> None:
        """What was submitted to a worker that had left before it was its turn in the batch."""
        for request_id, expected in self.expected.items():
            if expected.is_over:
                continue
            in_flight = self._in_flight()
            while True:
                gone = [
                    worker_id
                    for number, worker_id in enumerate(expected.worker_ids)
                    if worker_id not in expected.ended
                    and worker_id not in self.workers
                    and f"{request_id}:{number}" not in in_flight
                    and number < self._next_number(request_id, expected)
                ]
                if not gone or expected.is_over:
                    break
                for worker_id in gone:
                    self._ends(request_id, worker_id, "worker_lost")

    def _next_number(self, request_id: str, expected: Expected) -> int:
        """Up to which worker the batch has come: the first ones in the set go first."""
        room = expected.number(expected.batch)
        return min(len(expected.worker_ids), len(expected.ended) + room)

    @invariant()
    def answers_are_the_models(self) -> None:
        self._sweep()
        for request_id, expected in self.expected.items():
            answer = self.asker.answers.get(request_id)
            assert (answer is not None) == expected.is_over, request_id
            if answer is None:
                running = [one for one in self._in_flight() if one.startswith(f"{request_id}:")]
                assert 0 < len(running) <= expected.number(expected.batch)
                continue
            assert answer["complete"] == expected.is_met
            assert answer["missing"] == [name for name in expected.worker_ids if name not in expected.ended]
            if not expected.streams:
                items = {item["worker_id"]: item["code"] or item["data"] for item in answer["items"]}
                assert len(items) == len(answer["items"]), "one item for each"
                assert items == expected.ended
            else:
                assert answer["items"] == []

    def teardown(self) -> None:
        self.rig.gathers.left(self.asker)
        self.rig.check_nothing_is_left()
        assert not self._in_flight()


def test_gathers_answer_what_the_model_says() -> None:
    walks = settings(max_examples=60, stateful_step_count=40, database=None, deadline=None)
    run_state_machine_as_test(seed(13)(GatherMachine), settings=walks)
