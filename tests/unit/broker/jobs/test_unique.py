"""Jobs with a `unique` key."""

from typing import Any

import pytest
from msgspec import Raw
from taskferry.broker.core.failure import Failure
from taskferry.protocol.job_messages import Receipt, Submit, Unique

from tests.unit.broker.jobs.world import FakeAsker, World


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
        assert refusal(world, conflict=conflict) == "not_unique"
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
