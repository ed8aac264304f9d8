"""Jobs with a `unique` key."""

from typing import Any

import pytest
from msgspec import Raw
from taskferry.broker.core.failure import Failure
from taskferry.broker.jobs.rows import StoredJob
from taskferry.protocol.job_messages import Receipt, Remove, Retry, Submit, Unique
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, World


def stored(world: World, job_id: str) -> StoredJob:
    return next(kept.stored() for kept in world.disk.jobs.values() if kept.new.job_id == job_id)


def receipt(world: World, asker: FakeAsker | None = None, command: str = "echo", **unique: Any) -> Receipt:
    asker = asker or world.asker
    world.send(command, asker=asker, unique=Unique("k", **unique))
    answer = asker.take()
    assert isinstance(answer, Receipt), answer
    return answer


def refusal(world: World, asker: FakeAsker | None = None, **unique: Any) -> str:
    asker = asker or world.asker
    world.send("echo", asker=asker, unique=Unique("k", **unique))
    return asker.take_code()


def test_a_second_job_with_the_key_is_the_first_one_until_that_has_ended() -> None:
    world = World()
    first = receipt(world)
    assert receipt(world) == Receipt("r", first.job_id, "accepted", duplicate=True)
    worker = world.worker()
    assert receipt(world) == Receipt("r", first.job_id, "assigned", duplicate=True)
    worker.succeed(first.job_id)
    second = receipt(world)
    assert not second.duplicate
    assert second.job_id != first.job_id


def test_a_key_is_one_of_its_command() -> None:
    world = World()
    assert receipt(world).job_id != receipt(world, command="other").job_id


def test_a_plain_text_is_a_key() -> None:
    world = World()
    first = world.submit(unique="k")
    assert receipt(world).job_id == first


def test_until_started() -> None:
    world = World()
    first = receipt(world, until="started")
    assert receipt(world, until="started").job_id == first.job_id
    worker = world.worker()
    second = receipt(world, until="started")
    assert not second.duplicate, "the first one has started"
    worker.fail(first.job_id)
    third = receipt(world, until="started")
    assert not third.duplicate, "that it waits for its next attempt does not matter"
    assert len(worker.running) == 2


@pytest.mark.parametrize("is_restarted", [False, True])
def test_for_seconds_from_its_submission(is_restarted: bool) -> None:
    world = World()
    worker = world.worker()
    first = receipt(world, seconds=60)
    worker.succeed(first.job_id)
    world.sleep(59)
    if is_restarted:
        world.kill()
    assert receipt(world, seconds=60) == Receipt("r", first.job_id, "done", duplicate=True)
    assert refusal(world, seconds=60, conflict="reject") == "not_unique"
    world.sleep(2)
    assert not receipt(world, seconds=60).duplicate


def test_an_open_job_blocks_longer_than_its_seconds() -> None:
    world = World()
    first = receipt(world, seconds=1)
    world.sleep(10)
    assert receipt(world, seconds=1).job_id == first.job_id


def test_reject() -> None:
    world = World()
    first = receipt(world)
    world.send("echo", unique=Unique("k", conflict="reject"))
    _, failure = world.asker.take()
    assert failure == Failure("not_unique", f"unique: the job {first.job_id} has the key 'k'")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_replace_cancels_the_one_before(is_restarted: bool) -> None:
    world = World()
    worker = world.worker()
    first = receipt(world)
    if is_restarted:
        world.kill()
    second = receipt(world, conflict="replace")
    assert not second.duplicate
    assert world.state(first.job_id) == "cancelled"
    assert bool(worker.cancelled) is not is_restarted
    third = receipt(world)
    assert third.job_id == second.job_id


def test_replace_of_one_that_has_ended() -> None:
    world = World()
    worker = world.worker()
    first = receipt(world, seconds=60)
    worker.succeed(first.job_id)
    assert not receipt(world, seconds=60, conflict="replace").duplicate
    assert world.state(first.job_id) == "done"


def test_the_key_of_another_identity_is_taken() -> None:
    world = World()
    first = receipt(world, asker=FakeAsker("bert"))
    for conflict in ("existing", "replace", "reject"):
        world.send("echo", unique=Unique("k", conflict=conflict))
        _, failure = world.asker.take()
        assert failure == Failure("not_unique", "unique: a job of another identity has the key 'k'")
    world.send("echo", unique="k")
    assert world.asker.take()[1].text == "unique: a job of another identity has the key 'k'"
    assert world.state(first.job_id) == "accepted"
    assert receipt(world, asker=FakeAsker("root", sees_all=True)).job_id == first.job_id


def test_uniqueness_survives_a_restart() -> None:
    world = World()
    first = receipt(world)
    world.kill()
    assert receipt(world).job_id == first.job_id


@pytest.mark.parametrize("options", [{"unique": "k"}, {"job_id": "mine"}, {"job_id": "mine", "unique": "k"}])
def test_of_a_thousand_that_race_one_is_accepted(options: dict[str, Any]) -> None:
    world = World(is_lazy=True)
    world.settle()
    askers = [FakeAsker() for _ in range(1000)]
    message = Submit(command="echo", request_id="r", **options)
    for number, asker in enumerate(askers):
        world.jobs.submit(asker, message, Raw(b"null"), world.now)
        if number % 10 == 0:  # they race within turns and over several
            world.turn()
        if number % 100 == 50:
            world.journal.work()
            world.journal.answer()
            world.turn()
    world.settle()
    receipts = [asker.take() for asker in askers]
    assert len({receipt.job_id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len(world.disk.jobs) == 1
    assert world.jobs.counts.duplicates_count == 999
    world.is_lazy = False
    world.kill()
    world.submit(**options)
    assert len(world.disk.jobs) == 1


def test_a_thousand_that_replace_each_other_leave_one() -> None:
    world = World()
    for _ in range(1000):
        message = Submit(command="echo", unique=Unique("k", conflict="replace"))
        world.jobs.submit(world.asker, message, Raw(b"1"), world.now)
    world.settle()
    assert len({answer.job_id for answer in world.asker.sent}) == 1000
    states = [kept.change.state for kept in world.disk.jobs.values()]
    assert sum(state < 3 for state in states) == 1
    assert states[-1] < 3, "the last one"


def test_a_write_that_fails_frees_the_key() -> None:
    world = World()
    world.journal.is_full = True
    world.send("echo", unique="k")
    assert world.asker.take_code() == "journal_failed"
    world.journal.is_full = False
    world.sleep(2)
    assert not receipt(world).duplicate


def changed(world: World, kind: type[Cancel | Retry], job_id: str) -> None:
    assert world.change(kind, job_id=job_id) == 1


def started(world: World, count: int) -> list[str]:
    """So many open jobs with one key, all of which have started."""
    return [receipt(world, until="started").job_id for _ in range(count)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_job_that_has_not_started_blocks_although_a_later_one_has(is_restarted: bool) -> None:
    world = World()
    first = receipt(world, until="started")
    changed(world, Cancel, first.job_id)
    second = receipt(world, until="started")
    worker = world.worker(concurrency=1)
    assert worker.running
    changed(world, Retry, first.job_id)
    if is_restarted:
        world.sleep(0.1)
        world.kill()
    assert receipt(world, until="started").job_id == first.job_id
    assert receipt(world).job_id in {first.job_id, second.job_id}
    assert refusal(world, until="started", conflict="reject") == "not_unique"
    assert not receipt(world, until="started", conflict="replace").duplicate
    assert (world.state(first.job_id), world.state(second.job_id)) == ("cancelled", "assigned")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_replace_takes_the_place_of_all_that_are_open(is_restarted: bool) -> None:
    world = World()
    world.worker()
    jobs = started(world, 5)
    if is_restarted:
        world.sleep(0.1)
        world.kill()
    last = receipt(world, conflict="replace")
    assert [world.state(job_id) for job_id in jobs] == ["cancelled"] * 5
    assert receipt(world).job_id == last.job_id


def test_replace_leaves_all_alone_if_one_of_them_is_of_another_identity() -> None:
    world = World()
    world.worker()
    other = receipt(world, asker=FakeAsker("bert"), until="started")
    own = receipt(world, until="started")
    assert refusal(world, conflict="replace") == "not_unique"
    assert (world.state(other.job_id), world.state(own.job_id)) == ("assigned", "assigned")


def test_a_job_is_found_although_those_that_hid_it_end_meanwhile() -> None:
    """The journal names the latest that are open. Before it has answered, they are done."""
    world = World()
    worker = world.worker()
    first, *others = started(world, 4)
    world.worker("w2").lose_link()  # writes what is not written yet
    world.sleep(0.1)
    world.kill()
    worker.connect()
    worker.fail(first, retry=3600)
    assert first not in world.jobs.memory.by_id
    world.is_lazy = True
    world.send(unique="k")
    assert world.journal.work()
    for job_id in others:
        worker.succeed(job_id)
    world.settle()
    assert world.asker.take() == Receipt("r", first, "accepted", duplicate=True)


def test_one_that_has_not_started_is_found_although_those_that_hid_it_are_cancelled_meanwhile() -> None:
    world = World()
    world.worker()
    jobs = started(world, 3)
    for kept in world.disk.jobs.values():  # as if none of that had been recorded
        kept.change = kept.change._replace(state=0, attempt=0, msg_id=None, worker_id=None)
    world.kill()
    world.is_lazy = True
    world.send(unique=Unique("k", until="started"))
    assert world.journal.work()
    for job_id in jobs[1:]:
        world.jobs.lives.cancel(world.jobs.memory.take(stored(world, job_id)), world.now)
    world.jobs.stir()
    world.settle()
    assert world.asker.take() == Receipt("r", jobs[0], "accepted", duplicate=True)


@pytest.mark.parametrize("conflict", ["existing", "replace"])
def test_a_job_that_was_opened_again_and_has_started_is_found_in_memory(conflict: str) -> None:
    """The journal was asked before it knew."""
    world = World()
    worker = world.worker()
    first = receipt(world)
    worker.fail(first.job_id, retry=False)
    world.is_lazy = True
    world.send(unique=Unique("k", conflict=conflict))  # type: ignore[arg-type]
    assert world.journal.work()
    job = world.jobs.memory.take(stored(world, first.job_id))
    world.jobs.lives.retry(job, world.now)
    world.jobs.memory.note_key(job)
    assert job.attempt
    world.jobs.stir()
    world.settle()
    if conflict == "existing":
        assert world.asker.take().job_id == first.job_id
    else:
        assert world.asker.take().job_id != first.job_id
        assert world.state(first.job_id) == "cancelled"


def test_the_latest_of_those_that_block_is_named() -> None:
    world = World()
    world.worker()
    jobs = started(world, 4)
    assert receipt(world).job_id == jobs[-1]


@pytest.mark.parametrize("after_s", [0.5, 1.0, 1.1])
def test_a_second_is_a_time_as_well(after_s: float) -> None:
    world = World()
    worker = world.worker()
    first = receipt(world, seconds=1)
    worker.succeed(first.job_id)
    world.sleep(after_s)
    assert receipt(world, seconds=1).duplicate is (after_s <= 1.0)


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_seconds_count_from_the_latest_submission_even_if_the_clock_was_set_back(is_in_memory: bool) -> None:
    world = World()
    worker = world.worker()
    late = receipt(world, until="started")
    world.now -= 100
    world.jobs.clock_stepped(-100, world.now)
    early = receipt(world, until="started")
    if not is_in_memory:
        worker.succeed(late.job_id)
        worker.succeed(early.job_id)
    world.sleep(130)
    assert bool(world.jobs.memory.by_id) is is_in_memory
    world.is_lazy = True
    askers = [FakeAsker() for _ in range(2)]
    for asker, seconds in zip(askers, (1000, 60), strict=True):
        terms = Unique("k", until="started", seconds=seconds)
        message = Submit(command="echo", request_id="r", unique=terms)
        world.jobs.submit(asker, message, Raw(b"null"), world.now)
    world.settle()
    job_ids = [asker.take().job_id for asker in askers]
    assert job_ids[0] in {early.job_id, late.job_id}
    assert job_ids[1] == late.job_id


@pytest.mark.parametrize("is_read", [False, True])
def test_a_job_that_is_being_removed_counts_no_more(is_read: bool) -> None:
    world = World()
    worker = world.worker()
    first, second = receipt(world), None
    worker.succeed(first.job_id)
    second = receipt(world)
    worker.succeed(second.job_id)
    world.is_lazy = True
    world.jobs.remove(FakeAsker(), Remove("c", second.job_id), world.now)
    world.turn()
    if is_read:  # the removal is decided between the question for the key and its answer
        world.send(unique=Unique("k", seconds=60))
        world.journal.work()
        world.journal.work()
    else:
        world.journal.work()
        world.journal.answer()
        world.turn()
        world.send(unique=Unique("k", seconds=60))
    world.settle()
    assert world.asker.take() == Receipt("r", first.job_id, "done", duplicate=True)


def test_many_that_have_started_cost_no_look_at_each() -> None:
    world = World()
    world.worker(concurrency=300)
    world.worker("w2", "other")
    world.submit("other", unique="k")
    started(world, 300)
    same = world.jobs.memory.by_unique["echo", "k"]
    assert same.rival(Unique("k", until="started")) is None
    assert not same.unstarted, "what has started is not looked at again"
