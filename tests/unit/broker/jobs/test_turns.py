"""What requesters ask of the journal: connections take turns, and little of it is there at once."""

import gc
from typing import Any

import pytest
from msgspec import Raw
from taskferry.broker.jobs import following, reads, turns, windows
from taskferry.broker.jobs import jobs as jobs_module
from taskferry.broker.jobs.attempts import DEFAULTS_COUNT_MAX
from taskferry.broker.jobs.following import Awaiting
from taskferry.broker.jobs.lanes import CLOCK_SLACK
from taskferry.protocol.job_messages import (
    Await,
    Changed,
    Filter,
    Greeting,
    JobAnswer,
    ListJobs,
    Remove,
    Submit,
)
from taskferry.protocol.job_messages import Job as ViewJob
from taskferry.protocol.messages import Cancel, Defaults

from tests.unit.broker.jobs.world import FakeAsker, World


def lists(world: World, asker: FakeAsker, count: int) -> None:
    for number in range(count):
        world.jobs.list(asker, ListJobs(f"l{number}", Filter(command="none")), world.now)
    world.turn()


def with_journal(world: World, kind: str) -> int:
    """How many questions of a kind are with the journal."""
    return [type(asked).__name__ for asked, _ in world.journal._asked].count(kind)


def done(world: World, count: int, size: int) -> list[str]:
    """Jobs that are done, with results of this size, and on disk only."""
    worker = world.worker(concurrency=count)
    job_ids = [world.submit() for _ in range(count)]
    for job_id in job_ids:
        worker.succeed(job_id, "x" * size)
    world.settle()
    return job_ids


def test_lists_of_a_connection_are_answered_one_by_one_and_others_wait_for_one_of_them() -> None:
    world = World(is_lazy=True)
    world.settle()
    greedy, polite = FakeAsker(), FakeAsker("bert")
    lists(world, greedy, 5)
    assert with_journal(world, "Select") == 1
    lists(world, polite, 1)
    for _ in range(2):
        assert world.journal.work()
        assert world.journal.answer()
        world.turn()
    assert len(polite.sent) == len(greedy.sent) == 1
    world.settle()
    assert [answer.request_id for answer in greedy.sent] == [f"l{number}" for number in range(5)]


def test_what_a_connection_has_asked_is_forgotten_with_it_but_for_changes() -> None:
    world = World(is_lazy=True)
    world.settle()
    world.send(job_id="one")
    world.settle()
    asker, other = FakeAsker(), FakeAsker()
    lists(world, asker, 3)
    world.jobs.cancel(asker, Cancel("c", None, Filter(command="echo")), world.now)
    world.turn()
    world.leave(asker)
    world.settle()
    assert len(asker.sent) == 2, "the list that was with the journal, and the change"
    assert asker.sent[1] == Changed("c", 1)
    lists(world, other, 1)
    world.settle()
    assert len(other.sent) == 1


def test_results_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "READ_SIZE_BYTES_MAX", 100_000)
    monkeypatch.setattr(reads, "BRIEF_SIZE_BYTES", 1000)
    monkeypatch.setattr(following, "RESULT_SIZE_BYTES", 5000)
    world = World()
    small, large = done(world, 30, 100), done(world, 5, 40_000)
    world.is_lazy = True
    asker = FakeAsker()
    for job_ids, count_max in ((small, 20), (large, 5), (large, 5)):
        for job_id in job_ids:
            world.jobs.await_end(asker, Await(job_id), world.now)
        world.turn()
        assert with_journal(world, "Find") == count_max
        most = 0
        while not world.journal.is_idle:
            assert world.journal.work()
            world.journal.answer()
            world.turn()
            asked = [
                query for query, _ in world.journal._asked if getattr(query, "job_ids", [""])[0] in large
            ]
            most = max(most, sum(query.result_size_bytes_max > 5000 for query in asked))  # type: ignore[union-attr]
        assert most <= 2
        assert len(asker.sent) == len(job_ids)
        assert all(isinstance(result, bytes) for _, result in asker.sent)
        asker.sent.clear()


def test_a_result_that_is_larger_than_all_may_be_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "READ_SIZE_BYTES_MAX", 10_000)
    monkeypatch.setattr(following, "RESULT_SIZE_BYTES", 5000)
    world = World()
    (job_id,) = done(world, 1, 40_000)
    world.wait_for(job_id, world.asker)
    assert len(world.asker.take()[1]) > 40_000


def test_questions_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "QUESTIONS_COUNT_MAX", 3)
    monkeypatch.setattr(turns, "READ_SIZE_BYTES_MAX", 1)
    world = World(is_lazy=True)
    world.settle()
    world.send(job_id="one")
    world.settle()
    asker, other = FakeAsker(), FakeAsker()
    asks: list[tuple[Any, Any]] = [
        (world.jobs.view, ViewJob("one", "q")),
        (world.jobs.await_end, Await("one", "q", 0.0)),
        (world.jobs.cancel, Cancel("q", "none")),
        (world.jobs.greet, Greeting("c", "q")),
    ]
    for number in range(4):  # the first goes to the journal at once
        world.jobs.view(asker, ViewJob("one", f"v{number}"), world.now)
        world.turn()
    for ask, message in asks:
        ask(asker, message, world.now)
        assert asker.take_code() == "overloaded"
        ask(other, message, world.now)
    world.settle()
    assert [type(answer) for answer in asker.sent] == [JobAnswer] * 4
    assert len(other.sent) == 4
    assert "QUESTIONS_COUNT_MAX" in jobs_module._MANY.text


def test_an_await_that_is_over_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "DEADLINES_SLACK", 10)
    world = World()
    worker = world.worker()
    long = world.submit("other")
    world.wait_for(long, world.asker, timeout=50.0)
    for _ in range(100):
        asker, job_id = FakeAsker(), world.submit()
        world.wait_for(job_id, asker, timeout=86_400.0)
        world.wait_for(long, asker, timeout=86_400.0)
        worker.succeed(job_id)
        world.leave(asker)
    gc.collect()
    assert sum(isinstance(thing, Awaiting) for thing in gc.get_objects()) <= 1 + 10 + 2
    world.sleep(51)
    assert world.asker.take_code() == "timeout"


def test_an_await_ends_though_its_job_is_being_removed() -> None:
    world = World()
    (job_id,) = done(world, 1, 1)
    world.is_lazy = True
    asker = FakeAsker(sees_all=True)
    world.jobs.remove(asker, Remove("r", job_id), world.now)
    world.jobs.await_end(world.asker, Await(job_id, "a"), world.now)
    world.asker.sent.clear()
    world.settle()
    assert world.asker.take_code() == "unknown_job"


def test_an_await_whose_connection_closes_is_not_answered() -> None:
    world = World()
    (job_id,) = done(world, 1, 1)
    world.is_lazy = True
    asker = FakeAsker()
    world.jobs.await_end(asker, Await(job_id, "a"), world.now)
    world.turn()
    world.leave(asker)
    world.settle()
    assert not asker.sent


def test_few_lanes_are_read_at_once_and_all_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LANES_READ_COUNT_MAX", 3)
    monkeypatch.setattr(windows, "LANE_READ_SIZE_BYTES_MAX", 2000)
    world = World()
    commands = [f"c{number}" for number in range(10)]
    for command in commands * 4:
        world.submit(command, "x" * 900)
    world.is_lazy = True
    worker = world.worker("w", *commands, concurrency=40)
    most = 0
    while not world.journal.is_idle:
        most = max(most, with_journal(world, "NextInLane"))
        assert world.journal.work()
        world.journal.answer()
        world.turn()
    world.settle()
    assert most == 3
    assert len(worker.running) == 40


def test_times_of_lanes_that_are_not_valid_any_more_are_forgotten() -> None:
    world = World()
    for number in range(2 * CLOCK_SLACK):
        world.submit(delay=10_000.0 - number)
    assert len(world.jobs.all_lanes._clock) <= CLOCK_SLACK + 3
    world.worker()
    world.sleep(10_001.0 - 2 * CLOCK_SLACK)
    assert len(world.begun) == 1


def test_declared_defaults_are_bounded() -> None:
    world = World()
    worker = world.worker(defaults={"echo": Defaults(attempts=1)})
    for start in range(0, DEFAULTS_COUNT_MAX, 1000):
        world.jobs.worker_joined(
            "w9", [], {f"c{start + n}": Defaults(attempts=2) for n in range(1000)}, world.now
        )
    assert len(world.jobs.attempts.defaults) == DEFAULTS_COUNT_MAX
    assert "echo" not in world.jobs.attempts.defaults
    worker.connect()
    assert world.view(world.submit()).attempts == 1


# --- while the journal cannot be written ------------------------------------------------------------------------------


def failing(world: World) -> None:
    world.journal.is_full = True
    world.send()
    world.asker.sent.clear()
    assert world.journal.is_failing


def test_what_has_expired_is_asked_for_once_a_second_while_nothing_can_be_written() -> None:
    world = World(is_lazy=True)
    world.settle()
    submission = Submit(command="echo", expires_at=world.now + 1)
    for _ in range(1100):
        world.jobs.submit(FakeAsker(), submission, Raw(b"1"), world.now)
    world.settle()
    world.is_lazy = False
    failing(world)
    world.journal.queries.clear()
    world.sleep(5)
    assert 2 <= world.journal.queries.count("FindOverdue") <= 6
    world.journal.is_full = False
    world.sleep(5)
    assert len(world.observed.dead) == 1100


def test_changes_do_not_fill_memory_while_nothing_can_be_written() -> None:
    world = World()
    job_ids = [world.submit("unserved") for _ in range(5)]
    worker = world.worker()
    running = world.submit()
    failing(world)
    before = len(world.jobs.memory.by_id)
    assert world.change(Cancel, job_id=job_ids[0]) == "journal_failed"
    assert world.change(Cancel, filter=Filter(command="unserved")) == "journal_failed"
    assert len(world.jobs.memory.by_id) == before
    world.jobs.cancel(world.asker, Cancel("c", running), world.now)
    world.turn()
    assert worker.cancelled, "what runs is stopped at once"
    assert not world.asker.sent
    world.journal.is_full = False
    world.sleep(2)
    assert world.asker.take() == Changed("c", 1)
    assert world.change(Cancel, filter=Filter(command="unserved")) == 5


def test_what_one_has_changed_meanwhile_another_does_not_change_again() -> None:
    world = World()
    job_ids = [world.submit() for _ in range(3)]
    world.is_lazy = True
    askers = FakeAsker(), FakeAsker()
    for asker in askers:
        world.jobs.cancel(asker, Cancel("c", None, Filter(job_ids=job_ids)), world.now)
    world.settle()
    assert [asker.take().count for asker in askers] == [3, 0]


# --- who has left while the journal was asked -------------------------------------------------------------------------


def leave(world: World, asker: FakeAsker) -> None:
    """As a session does when its link closes."""
    asker.has_left = True
    world.jobs.asker_left(asker)


def test_nobody_follows_a_job_over_a_connection_that_has_closed() -> None:
    world = World(is_lazy=True)
    world.settle()
    asker, other = FakeAsker(), FakeAsker()
    world.send(asker=asker, job_id="named", receipts=True)
    world.jobs.view(asker, ViewJob("named", "v"), world.now)
    leave(world, asker)
    world.settle()
    world.send(asker=other, job_id="other")
    world.settle()
    world.jobs.view(other, ViewJob("other", "v", receipts=True), world.now)
    world.turn()
    leave(world, other)
    world.settle()
    assert not world.jobs.lives.followers.count


def test_what_is_asked_before_the_journal_was_read_leaves_nothing_if_its_connection_closes() -> None:
    world = World(is_lazy=True)
    asker = FakeAsker()
    world.jobs.greet(asker, Greeting("c", "h"), world.now)
    world.jobs.await_end(asker, Await("none", "a"), world.now)
    leave(world, asker)
    world.settle()
    assert not asker.sent
    assert world.jobs.inbox.client_of(asker) is None
