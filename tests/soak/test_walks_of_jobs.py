"""More seeds, walks and examples of jobs than in ordinary tests: `make soak`."""

import random

from hypothesis import settings

from tests.sim.jobs import walk
from tests.unit.broker.jobs import test_keys
from tests.unit.broker.jobs.machine import JobsMachine
from tests.unit.broker.jobs.schedules import test_times
from tests.unit.broker.storage import test_queries

TestMoreWalksOnJobs = JobsMachine.TestCase
TestMoreWalksOnJobs.settings = settings(max_examples=600, stateful_step_count=60, database=None)


def test_the_books_agree_over_hundreds_of_seeds() -> None:
    first = random.randrange(10**9)
    for seed in range(first, first + 300):
        walk(seed, 400)


def test_every_query_after_many_batches() -> None:
    first = random.randrange(2**32)
    for seed in range(first, first + 1000):
        test_queries.check_queries(seed, 8)


def test_cron_agrees_with_a_walk_through_each_minute() -> None:
    for time_zone in test_times.ZONES:
        for start in test_times.CHANGES:
            for _ in range(20):
                expression = f"{random.choice(test_times.MINUTES)} {random.choice(test_times.HOURS)} * * *"
                test_times.check_cron(expression, time_zone, start)


def test_a_limit_is_never_exceeded_in_a_thousand_plays() -> None:
    for _ in range(1000):
        steps = [(random.choice(test_keys.KINDS), random.randrange(6)) for _ in range(30)]
        test_keys.check_limit(steps)
