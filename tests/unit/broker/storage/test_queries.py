"""Every query against a model in plain Python, after batches made at random."""

import re
import sqlite3
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.broker.jobs.ports import CountMatching, Find, Opened, Opening, Query, Select
from taskferry.broker.jobs.rows import Batch, StoredJob
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage.changes import Changes
from taskferry.broker.storage.database import Database
from taskferry.broker.storage.inspection import ORPHANS, number
from taskferry.broker.storage.queries import answer
from taskferry.broker.storage.scans import Scan
from taskferry.protocol.job_messages import Filter

from .journals import changes, submissions
from .made_at_random import Maker
from .model import Model


def plain(found: object) -> object:
    """Without the order of what has none."""
    match found:
        case Opened():
            return found._replace(
                lanes=sorted(found.lanes),
                assigned=sorted(found.assigned, key=lambda job: job.new.seq),
                schedules=sorted(found.schedules),
                waited_for=sorted(found.waited_for),
                after_due=sorted(found.after_due),
                held_keys=sorted(key or "" for key in found.held_keys),
            )
        case _:
            return found


def by_seq(found: object) -> list[StoredJob]:
    assert isinstance(found, list)
    return sorted(found, key=lambda job: job.new.seq)


def write(connection: sqlite3.Connection, batch: Batch) -> None:
    folded = Changes()
    folded.add(batch)
    folded.write(connection)


def found_by(connection: sqlite3.Connection, query: Query) -> object:
    if not isinstance(query, Select | CountMatching):
        return answer(connection, query)
    scan = Scan(query, rows_per_slice=3)
    while not scan.step(connection):
        pass
    return scan.answer


@settings(max_examples=20)  # `make soak` tries more
@given(seed=st.integers(0, 2**32), rounds_count=st.integers(1, 8))
def test_every_query_finds_what_looking_at_every_job_finds(seed: int, rounds_count: int) -> None:
    check_queries(seed, rounds_count)


def check_queries(seed: int, rounds_count: int) -> None:
    random = Random(seed)
    model = Model()
    maker = Maker(random, model)
    connection = Database(Path("/nonexistent")).connection  # in memory, until it is told to make the file
    for _ in range(rounds_count):
        folded = Changes()
        for _ in range(random.randint(1, 4)):
            folded.add(maker.batch())
        folded.write(connection)
        assert plain(answer(connection, Opening())) == plain(model.answer(Opening()))
        for query in maker.queries():
            found, expected = found_by(connection, query), model.answer(query)
            if isinstance(query, Find):
                found, expected = by_seq(found), by_seq(expected)
            assert found == expected, query
        orphans = {what: number(connection, statement) for what, statement in ORPHANS.items()}
        assert orphans == dict.fromkeys(ORPHANS, 0)
    connection.close()


def test_no_query_walks_through_a_table_or_sorts_a_lane() -> None:
    """Lists and counts with a filter may: there is no index for each of the filter's fields."""
    connection = Database(Path("/nonexistent")).connection
    maker = Maker(Random(1), Model())
    folded = Changes()
    for _ in range(20):
        folded.add(maker.batch())
    folded.write(connection)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for query in maker.queries():
        if not isinstance(query, Select | CountMatching):
            answer(connection, query)
    connection.set_trace_callback(None)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    walks = re.compile(rf"SCAN ({'|'.join(tables)})$|USE TEMP B-TREE FOR ORDER BY")
    for text in statements:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
        assert not [step for step in plan if walks.search(step)], (text, plan)
    connection.close()


def test_a_list_that_takes_long_shows_its_jobs_as_they_are_at_its_end() -> None:
    connection = Database(Path("/nonexistent")).connection
    write(connection, submissions(range(1, 21)))
    scan = Scan(Select(Filter(states=["accepted"]), None, None, 8), rows_per_slice=5)
    assert not scan.step(connection)  # 20 to 16
    write(connection, changes([20, 18], JobState.DONE))
    removed = Batch()
    removed.removed.append(17)
    write(connection, removed)
    assert not scan.step(connection)  # 15 to 13, and three of the first are gone
    while not scan.step(connection):
        pass
    assert isinstance(scan.answer, list)
    assert [job.new.seq for job in scan.answer] == [19, 16, 15, 14, 13, 12, 11, 10]
    assert {job.change.state for job in scan.answer} == {JobState.ACCEPTED}
    connection.close()
