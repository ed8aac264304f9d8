"""Round robin against a plain list."""

from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.round_robin import RoundRobin

from tests.unit.loadbalance.candidates import Worker


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "change", "pick", "pick"]), st.integers(0, 30)),
        max_size=60,
    )
)
def test_the_first_in_line_is_next_and_goes_to_the_end(steps: list[tuple[str, int]]) -> None:
    strategy: RoundRobin[Worker] = RoundRobin()
    line: list[Worker] = []
    for number, (step, which) in enumerate(steps):
        match step:
            case "add":
                worker = Worker(f"w{number}")
                strategy.add(worker)
                line.append(worker)
            case "remove" if line:
                strategy.remove(line.pop(which % len(line)))
            case "change" if line:
                worker = line[which % len(line)]
                worker.in_flight_count += 1
                strategy.changed(worker)
            case "pick":
                assert strategy.pick(None) is (line[0] if line else None)
                line = line[1:] + line[:1]


def test_load_and_weight_do_not_matter() -> None:
    strategy: RoundRobin[Worker] = RoundRobin()
    workers = [Worker("busy", in_flight_count=9), Worker("idle"), Worker("heavy", weight=100.0)]
    for worker in workers:
        strategy.add(worker)
    assert [strategy.pick(None) for _ in range(6)] == workers * 2


def test_one_that_comes_back_is_last_in_line() -> None:
    strategy: RoundRobin[Worker] = RoundRobin()
    first, second, third = (Worker(name) for name in ("first", "second", "third"))
    for worker in (first, second, third):
        strategy.add(worker)
    strategy.remove(first)
    strategy.add(first)
    assert [strategy.pick(None) for _ in range(3)] == [second, third, first]
