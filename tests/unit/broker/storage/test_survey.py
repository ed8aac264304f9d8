"""What operators see of accepted jobs is what looking at every job finds, and no answer walks through all of them."""

from pathlib import Path
from random import Random
from sqlite3 import Connection

import pytest
from taskferry.broker.jobs.ports import PlaceInLane, Survey, Surveyed
from taskferry.broker.jobs.rows import Batch, JobChange, LaneRow, NewJob
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage.changes import Changes
from taskferry.broker.storage.database import Database
from taskferry.broker.storage.queries import answer

NOW = 1_790_000_000.25
LANES = 4


def job(seq: int, state: JobState, lane: int, priority: int, run_at: float) -> tuple[NewJob, JobChange]:
    new = NewJob(
        seq, f"j{seq}", None, lane, "me", None, NOW - 99, priority, None, None, None, None, b"", "json", b"1"
    )
    return new, JobChange(seq, state, 0, run_at, 0, 0, 0, None, None, None, None, None, None, None)


def kept(jobs: list[tuple[NewJob, JobChange]]) -> Connection:
    connection = Database(Path("/nonexistent")).connection  # stays in memory
    batch = Batch()
    batch.lanes = [LaneRow(lane, f"c{lane}", None) for lane in range(1, LANES + 1)]
    batch.jobs = [new for new, _ in jobs]
    batch.changes = [change for _, change in jobs]
    changes = Changes()
    changes.add(batch)
    changes.write(connection)
    return connection


def made(seed: int, count: int) -> list[tuple[NewJob, JobChange]]:
    random = Random(seed)
    return [
        job(
            seq,
            random.choice([JobState.ACCEPTED] * 4 + [JobState.HELD, JobState.ASSIGNED, JobState.DONE]),
            random.randint(1, LANES - 1),  # the last lane has none
            random.choice([0, 5, 5, 5, 9]),
            NOW + random.choice([-60, -5, -5, 0, 0.5, 60]),
        )
        for seq in range(1, count + 1)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_delayed_jobs_are_counted_by_lane_and_the_oldest_ready_ones_are_found(seed: int) -> None:
    jobs = made(seed, 120)
    accepted = [(new, change) for new, change in jobs if change.state == JobState.ACCEPTED]
    connection = kept(jobs)
    for count in (1, 7, 500):
        found = answer(connection, Survey(NOW, count))
        assert isinstance(found, Surveyed)
        delayed = [new.lane for new, change in accepted if change.run_at > NOW]
        assert found.delayed_counts == {lane: delayed.count(lane) for lane in set(delayed)}
        ready = {new.seq: change.run_at for new, change in accepted if change.run_at <= NOW}
        assert [one.change.run_at for one in found.oldest] == sorted(ready.values())[:count]
        assert len({one.new.seq for one in found.oldest} & set(ready)) == len(found.oldest)
    connection.close()


def test_an_empty_journal_has_neither() -> None:
    connection = kept([])
    assert answer(connection, Survey(NOW, 5)) == Surveyed({}, [])
    assert answer(connection, PlaceInLane(1, NOW, 5)) is None
    connection.close()


@pytest.mark.parametrize("seed", range(3))
def test_the_place_of_a_job_is_the_number_of_those_that_go_before_it(seed: int) -> None:
    jobs = made(seed, 120)
    connection = kept(jobs)
    ready = [
        (new.lane, -new.priority, change.run_at, new.seq)
        for new, change in jobs
        if change.state == JobState.ACCEPTED and change.run_at <= NOW
    ]
    for new, change in jobs:
        own = (new.lane, -new.priority, change.run_at, new.seq)
        before = sum(other[0] == new.lane and other < own for other in ready)
        for count_max in (3, 1000):
            expected = min(count_max, before) if own in ready else None
            assert answer(connection, PlaceInLane(new.seq, NOW, count_max)) == expected
    connection.close()


def test_no_answer_walks_through_all_jobs() -> None:
    connection = kept(made(1, 50))
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for query in (Survey(NOW, 5), PlaceInLane(1, NOW, 5)):
        answer(connection, query)
    connection.set_trace_callback(None)
    steps = {
        row[3] for text in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
    }
    connection.close()
    assert not {step for step in steps if step.startswith(("SCAN life", "SCAN job"))}
    assert any("life_ready" in step for step in steps)
