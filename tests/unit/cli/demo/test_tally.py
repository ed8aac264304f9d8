"""Which requests the demo sends, how it checks their answers, and how it counts."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.cli.demo.tally import COMMANDS, WRONG_ANSWER, Latencies, Pace, Tally, make_probe
from taskferry.worker import builtin

from tests.each_case import each_case

ALL_KINDS = range(len(COMMANDS) * 7 * 97)
"""Requests after which every command, operator and operand has been combined."""


ANSWERS: dict[str, Callable[..., Awaitable[Any]]] = {
    "echo": builtin.echo,
    "get_time": builtin.get_time,
    "calculate": builtin.calculate,
}
"""What a real worker answers."""


async def test_right_answers_are_known_to_be_right() -> None:
    for number in ALL_KINDS:
        probe = make_probe(number)
        answer = await ANSWERS[probe.command](**probe.data)
        assert probe.is_right(answer), (probe, answer)


async def test_the_answer_to_another_request_is_wrong() -> None:
    for number in range(0, 300, 3):
        probe, other = make_probe(number), make_probe(number + 3)
        assert not probe.is_right(await ANSWERS[other.command](**other.data))


@each_case("command", COMMANDS)
@each_case("answer", [None, "", 10**30, "12:00", {"error": "?"}, []])
def test_an_answer_of_another_type_is_wrong(command: str, answer: object) -> None:
    probe = make_probe(COMMANDS.index(command))
    assert probe.command == command
    assert not probe.is_right(answer)


@each_case(
    "shape",
    [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S.%f",
        "%Y%m%d %H%M%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M:%S+00:00",
    ],
)
def test_a_time_in_another_form_is_wrong(shape: str) -> None:
    assert not make_probe(COMMANDS.index("get_time")).is_right(datetime.now().strftime(shape))


@each_case(("late", "is_right"), [(0, True), (-20, True), (20, True), (-40, False), (40, False)])
def test_another_time_is_wrong(late: int, is_right: bool) -> None:
    told = (datetime.now() + timedelta(seconds=late)).strftime("%Y-%m-%d %H:%M:%S")
    assert make_probe(COMMANDS.index("get_time")).is_right(told) is is_right


@given(st.lists(st.floats(min_value=2e-6, max_value=90.0), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_right_to_one_percent(durations_s: list[float], percent: int) -> None:
    latencies = Latencies()
    for duration_s in durations_s:
        latencies.add(duration_s)
    exact_s = sorted(durations_s)[-(-len(durations_s) * percent // 100) - 1]
    assert latencies.percentile_s(percent) == pytest.approx(exact_s, rel=0.0101)


@pytest.mark.parametrize(
    ("duration_s", "counted_as_s"), [(0.0, 1e-6), (-1.0, 1e-6), (1e-9, 1e-6), (5000.0, 100.0)]
)
def test_durations_out_of_bounds_count_as_the_bound(duration_s: float, counted_as_s: float) -> None:
    latencies = Latencies()
    latencies.add(duration_s)
    assert latencies.percentile_s(50) == pytest.approx(counted_as_s, rel=0.02)


def test_without_durations_there_is_no_percentile() -> None:
    assert Latencies().percentile_s(99) is None


def test_every_request_sent_is_done_or_failed_or_unanswered() -> None:
    tally = Tally()
    probes = [tally.next_probe() for _ in range(6)]
    tally.succeeded(probes[0], "Echo: Hello-0", "worker-1", 0.001)
    tally.succeeded(probes[3], "Echo: Hello-4", "worker-2", 0.001)
    tally.failed(probes[1], "worker_lost", "Worker lost", "worker-2")
    tally.failed(probes[2], "no_available_workers", "No available workers", None)
    assert (tally.sent_count, tally.done_count, tally.failed_count, tally.unanswered_count) == (6, 1, 3, 2)
    assert tally.done_by_worker == {"worker-1": 1}
    assert tally.failed_by_worker == {"worker-2": 2}
    assert tally.failures == {WRONG_ANSWER: 1, "worker_lost": 1, "no_available_workers": 1}
    assert tally.latencies.count == tally.by_command["echo"].latencies.count == 1
    assert tally.by_command["echo"].example == ({"message": "Hello-0"}, "Echo: Hello-0")


def test_the_first_failure_is_kept_as_an_example() -> None:
    tally = Tally()
    tally.succeeded(tally.next_probe(), "Echo: no", "worker-1", 0.001)
    tally.failed(tally.next_probe(), "timeout", "too late", "worker-1")
    assert tally.first_failure == "echo: {'message': 'Hello-0'} was answered 'Echo: no' [wrong_answer]"


def test_pace_is_that_of_the_last_looks() -> None:
    pace = Pace()
    for look, count in enumerate([0, 1000, 1000, 1100, 1200, 1300]):
        pace.look(look / 4, {"worker-1": count, "worker-2": count // 2})
    assert pace.per_second("worker-1") == pytest.approx(300)
    assert pace.per_second("worker-2") == pytest.approx(150)
    assert pace.per_second("unknown") == 0
    assert list(pace.course) == pytest.approx([6000, 0, 600, 600, 600])


def test_pace_before_the_second_look_is_none() -> None:
    pace = Pace()
    assert pace.per_second("worker-1") == 0
    pace.look(1.0, {"worker-1": 5})
    pace.look(1.0, {"worker-1": 9})
    assert pace.per_second("worker-1") == 0
    assert not pace.course


def test_the_course_of_a_long_run_is_bounded() -> None:
    pace = Pace()
    for look in range(Pace.COURSE_COUNT_MAX + 50):
        pace.look(look, {"worker-1": look})
    assert len(pace.course) == Pace.COURSE_COUNT_MAX
