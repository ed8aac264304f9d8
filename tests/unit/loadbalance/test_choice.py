"""Which strategy a command uses: the first pattern that matches, else the default."""

import random
from typing import Any

import pytest
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.random import Random
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.loadbalance.round_robin import RoundRobin

from tests.each_case import each_case
from tests.unit.loadbalance.candidates import Worker


def choice(**patterns: str) -> StrategyChoice:
    return StrategyChoice("least_loaded", patterns, STRATEGIES, random.Random(1).random)


@each_case(
    ("command", "name"),
    [
        ("resize-image", "consistent_hash"),
        ("resize-", "consistent_hash"),
        ("resize", "least_loaded"),
        ("Resize-image", "least_loaded"),
        ("a1", "random"),
        ("a12", "least_loaded"),
        ("c1", "round_robin"),
        ("d1", "least_loaded"),
        ("*", "least_loaded"),
    ],
)
def test_a_pattern_fits_as_a_file_name_would(command: str, name: str) -> None:
    patterns = {"resize-*": "consistent_hash", "a?": "random", "[bc]1": "round_robin"}
    assert choice(**patterns).name_for(command) == name


def test_the_first_pattern_that_fits_counts() -> None:
    assert choice(**{"a*": "random", "ab": "round_robin", "*": "power_of_two"}).name_for("ab") == "random"
    assert choice(**{"ab": "round_robin", "a*": "random"}).name_for("ab") == "round_robin"


def test_what_it_makes_is_new_each_time_and_draws_by_its_chance() -> None:
    made: list[Any] = [choice().make("random"), choice().make("random")]
    assert made[0] is not made[1]
    assert isinstance(made[0], Random)
    assert isinstance(choice().make("round_robin"), RoundRobin)
    draws = StrategyChoice("random", {}, STRATEGIES, lambda: 0.5).make("random")
    workers = [Worker(f"w{number}") for number in range(3)]
    for worker in workers:
        draws.add(worker)
    assert draws.pick(None) is workers[1]


def test_a_name_without_a_factory_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        choice().make("none")
