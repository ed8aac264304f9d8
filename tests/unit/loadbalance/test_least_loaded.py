"""Least loaded against brute force: after any sequence of calls the pick has the lowest (in flight + 1) / weight of all
that are held, and among equals it is the one that has stood at that load for the longest time."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.least_loaded import LeastLoaded

from tests.unit.loadbalance.candidates import Worker

WEIGHTS = st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 7.5, 100.0])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "change", "pick"]), st.integers(0, 30), st.integers(0, 5), WEIGHTS
    ),
    max_size=60,
)


@given(STEPS)
def test_every_pick_is_the_minimum_and_the_first_of_its_equals(
    steps: list[tuple[str, int, int, float]],
) -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    held: dict[Worker, tuple[float, int]] = {}
    for number, (step, which, load, weight) in enumerate(steps):
        workers = list(held)
        match step:
            case "add":
                worker = Worker(f"w{number}", in_flight_count=load, weight=weight)
                strategy.add(worker)
                held[worker] = ((load + 1) / weight, number)
            case "remove" if workers:
                worker = workers[which % len(workers)]
                strategy.remove(worker)
                del held[worker]
            case "change" if workers:
                worker = workers[which % len(workers)]
                worker.load = load
                strategy.changed(worker)
                held[worker] = ((load + 1) / worker.weight, number)
            case "pick" if workers:
                picked = strategy.pick(None)
                assert picked is not None
                picked.load += 1
                strategy.changed(picked)
                held[picked] = ((picked.load + 1) / picked.weight, number)
        assert strategy.pick(None) is min(held, key=lambda worker: held[worker], default=None)


def test_equal_workers_take_turns() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    workers = [Worker(f"w{number}") for number in range(3)]
    for worker in workers:
        strategy.add(worker)
    picks = []
    for _ in range(6):
        picked = strategy.pick(None)
        assert picked is not None
        picked.load += 1
        strategy.changed(picked)
        picks.append(picked)
    assert picks == workers * 2


def test_a_worker_of_twice_the_weight_gets_twice_the_assignments() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    light, heavy = Worker("light", weight=1.0), Worker("heavy", weight=2.0)
    strategy.add(light)
    strategy.add(heavy)
    assert strategy.pick(None) is heavy, "among idle workers the heavier one goes first"
    for _ in range(30):
        picked = strategy.pick(None)
        assert picked is not None
        picked.load += 1
        strategy.changed(picked)
    assert (light.load, heavy.load) == (10, 20)


def test_what_is_kept_does_not_grow_with_the_loads_that_have_been() -> None:
    # Workers of ever new weights leave loads behind that nobody has any more.
    strategy: LeastLoaded[Worker] = LeastLoaded()
    strategy.add(Worker("stays"))
    tracemalloc.start()
    try:
        for number in range(3000):
            worker = Worker(weight=0.5 / (1 + number / 3000))
            strategy.add(worker)
            strategy.remove(worker)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 100_000
