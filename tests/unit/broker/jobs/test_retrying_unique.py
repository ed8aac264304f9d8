"""A retry by hand of jobs with a `unique` key: it must not open a second one."""

import pytest
from taskferry.broker.jobs import changes, room
from taskferry.broker.jobs.states import JobState
from taskferry.protocol.job_messages import Changed, Filter, Remove, Retry, Unique
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, World


def cancelled(world: World, count: int = 1, until: str = "ended") -> list[str]:
    """Jobs with one key, each of which was cancelled."""
    job_ids = []
    for _ in range(count):
        job_ids.append(world.submit(unique=Unique("k", until=until)))  # type: ignore[arg-type]
        assert world.change(Cancel, job_id=job_ids[-1]) == 1
    return job_ids


def open_count(world: World) -> int:
    return sum(kept.change.state < 3 for kept in world.disk.jobs.values())


@pytest.mark.parametrize("is_restarted", [False, True])
def test_one_is_refused_while_another_is_open(is_restarted: bool) -> None:
    world = World()
    (first,) = cancelled(world)
    second = world.submit(unique="k")
    world.submit("other", unique="k")
    if is_restarted:
        world.kill()
    asker = FakeAsker()
    world.jobs.retry(asker, Retry("c", first), world.now)
    world.settle()
    _, failure = asker.take()
    assert (failure.code, failure.text) == ("not_unique", f"unique: the job {second} has the key 'k'")
    assert world.state(first) == "cancelled"
    world.change(Cancel, job_id=second)
    assert world.change(Retry, job_id=first) == 1
    assert world.change(Retry, job_id=second) == "not_unique", "now the first one is open"
    assert world.submit(unique="k") == first


@pytest.mark.parametrize("is_bulk", [False, True])
def test_one_is_refused_while_another_is_in_memory_only(is_bulk: bool) -> None:
    world = World()
    (first,) = cancelled(world)
    world.is_lazy = True
    world.send(unique="k", asker=FakeAsker())
    assert world.journal.work()
    assert world.journal.answer()
    asker = FakeAsker(sees_all=True)
    message = Retry("c", filter=Filter()) if is_bulk else Retry("c", first)
    world.jobs.retry(asker, message, world.now)
    world.turn()  # accepts the second job, and asks for what the retry needs
    assert world.jobs.intake.pending_count == 1
    assert len(world.disk.jobs) == 1, "the second one is not on disk"
    world.settle()
    if is_bulk:
        assert asker.take().count == 0
    else:
        assert asker.take_code() == "not_unique"
    assert open_count(world) == 1


@pytest.mark.parametrize("is_retry_first", [False, True])
def test_of_retries_and_a_submission_at_once_one_is_open(is_retry_first: bool) -> None:
    world = World()
    first, second = cancelled(world, 2)
    world.is_lazy = True
    askers = [FakeAsker() for _ in range(3)]
    if not is_retry_first:
        world.send(unique="k", asker=askers[2])
    world.jobs.retry(askers[0], Retry("c", first), world.now)
    world.jobs.retry(askers[1], Retry("c", second), world.now)
    world.turn()
    if is_retry_first:
        assert world.journal.work()
        assert world.journal.work()
        assert world.journal.answer()
        assert world.journal.answer()
        world.turn()  # asks for the rivals
        world.send(unique="k", asker=askers[2])
    world.settle()
    assert open_count(world) == 1
    assert askers[2].take().duplicate is is_retry_first
    retried = [isinstance(asker.take(), Changed) for asker in askers[:2]]
    assert retried == [is_retry_first, False]


def test_a_retry_takes_the_place_of_one_that_is_cancelled_in_the_same_turn() -> None:
    world = World()
    (first,) = cancelled(world)
    second = world.submit(unique="k")
    world.is_lazy = True
    asker, third = FakeAsker(), FakeAsker()
    world.jobs.retry(asker, Retry("c", first), world.now)
    world.turn()
    assert world.journal.work()
    assert world.journal.answer()
    world.jobs.cancel(FakeAsker(), Cancel("c", second), world.now)
    world.send(unique="k", asker=third)
    world.settle()
    assert asker.take() == Changed("c", 1)
    assert third.take().job_id == first, "though the one that was cancelled is the later one"
    assert open_count(world) == 1


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("page", [2, 1000])
def test_many_open_one_of_each_key(is_restarted: bool, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "ROWS_PER_READ_MAX", page)
    world = World()
    cancelled(world, 5)
    plain = world.submit()
    world.change(Cancel, job_id=plain)
    if is_restarted:
        world.kill()
    assert world.change(Retry, filter=Filter()) == 2
    assert open_count(world) == 2
    assert world.change(Retry, filter=Filter()) == 0, "those that are left have no place"
    assert world.change(Remove, filter=Filter()) == 4


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("page", [2, 1000])
def test_a_dry_run_counts_one_of_each_key(
    is_restarted: bool, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ROWS_PER_READ_MAX", page)
    world = World()
    cancelled(world, 5)
    other = world.submit("other", unique="k")
    world.change(Cancel, job_id=other)
    plain = world.submit()
    world.change(Cancel, job_id=plain)
    if is_restarted:
        world.kill()
    assert world.change(Retry, filter=Filter(), dry_run=True) == 3
    assert open_count(world) == 0
    assert world.change(Retry, filter=Filter()) == 3
    assert world.change(Retry, filter=Filter(), dry_run=True) == 0
    asker = FakeAsker(sees_all=True)
    barred = next(k.new.job_id for k in world.disk.jobs.values() if k.change.state == JobState.CANCELLED)
    world.jobs.retry(asker, Retry("c", barred, dry_run=True), world.now)
    world.settle()
    assert asker.take_code() == "not_unique"


@pytest.mark.parametrize("has_started", [False, True])
def test_a_dry_run_knows_that_a_job_which_has_started_leaves_its_place(has_started: bool) -> None:
    world = World()
    older = cancelled(world, 1, until="started")
    newer = world.submit(unique=Unique("k", until="started"))
    if has_started:
        worker = world.worker()
        worker.fail(newer, retry=False)
        worker.kill()
    else:
        world.change(Cancel, job_id=newer)
    count = 2 if has_started else 1  # the newest goes first
    assert world.change(Retry, filter=Filter(), dry_run=True) == count
    assert world.change(Retry, filter=Filter()) == count
    assert world.state(older[0]) == ("accepted" if has_started else "cancelled")


def test_a_dry_run_counts_one_of_a_key_that_is_open_until_its_end_although_all_have_started() -> None:
    world = World()
    worker = world.worker()
    for _ in range(3):
        worker.fail(world.submit(unique="k"), retry=False)
    worker.kill()
    assert world.change(Retry, filter=Filter(), dry_run=True) == 1
    assert world.change(Retry, filter=Filter()) == 1


def test_a_dry_run_remembers_so_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TRIED_KEYS_COUNT_MAX", 3)
    monkeypatch.setattr(changes, "TRIED_KEYS_COUNT_MAX", 3)
    world = World()
    for number in range(2):
        world.submit(unique=f"k{number}")
    assert world.change(Cancel, filter=Filter()) == 2
    assert world.change(Retry, filter=Filter(), dry_run=True) == 2
    world.submit(unique="k2")
    assert world.change(Cancel, filter=Filter()) == 1
    asker = FakeAsker(sees_all=True)
    world.jobs.retry(asker, Retry("c", filter=Filter(), dry_run=True), world.now)
    world.settle()
    text = "dry_run: over 3 unique keys (TRIED_KEYS_COUNT_MAX); give a narrower filter"
    _, failure = asker.take()
    assert (failure.code, failure.text) == ("overloaded", text)
    assert world.change(Retry, filter=Filter()) == 3


@pytest.mark.parametrize("is_bulk", [False, True])
def test_a_rival_is_found_although_those_that_hid_it_end_meanwhile(is_bulk: bool) -> None:
    world = World()
    (dead,) = cancelled(world)
    worker = world.worker()
    first, *others = (world.submit(unique=Unique("k", until="started")) for _ in range(4))
    world.sleep(0.1)
    worker.fail(first, retry=3600)
    asker = FakeAsker(sees_all=True)
    world.is_lazy = True
    world.journal.queries.clear()
    message = Retry("c", filter=Filter()) if is_bulk else Retry("c", dead)
    world.jobs.retry(asker, message, world.now)
    world.turn()
    while "FindUnique" not in world.journal.queries:
        assert world.journal.work()
        assert world.journal.answer()
        world.turn()
    assert world.journal.work()
    for job_id in others:
        worker.succeed(job_id)
    world.settle()
    assert world.state(first) == "accepted"
    if is_bulk:
        assert asker.take() == Changed("c", 0)
    else:
        assert asker.take_code() == "not_unique"


def test_one_that_has_started_leaves_its_place_if_that_was_asked_for() -> None:
    world = World()
    worker = world.worker()
    (first,) = cancelled(world, until="started")
    second = world.submit(unique=Unique("k", until="started"))
    assert world.change(Retry, job_id=first) == 1
    assert len(worker.running) == 3, "of the first, the attempt that was cancelled as well"
    assert world.state(second) == "assigned"


def test_a_journal_that_cannot_be_asked_for_the_key_refuses() -> None:
    world = World()
    (first,) = cancelled(world)
    world.journal.broken_reads = {"FindUnique"}
    assert world.change(Retry, job_id=first) == "journal_failed"
    assert world.change(Retry, filter=Filter()) == "journal_failed"
    world.journal.broken_reads.clear()
    assert world.change(Retry, job_id=first) == 1
