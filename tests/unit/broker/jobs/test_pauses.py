"""The broker stands still: it was stopped (SIGSTOP), or its machine was suspended. Nobody has listened to workers
meanwhile, so they have their whole time to come back once it goes on."""

import pytest
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import START, World

PAUSES = pytest.mark.parametrize("pause_s", [1.0, 10.0, 8 * 3600.0])


@PAUSES
@pytest.mark.parametrize("lost_s", [0.1, 3.9])
def test_a_worker_that_was_away_before_the_pause_has_its_whole_time_after_it(
    lost_s: float, pause_s: float
) -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.lose_link()
    world.sleep(lost_s)
    world.pause(pause_s)
    world.wake_up()
    world.sleep(3.9)
    worker.connect()
    worker.succeed(job_id)
    view = world.view(job_id)
    assert (view.state, view.losses, len(world.begun)) == ("done", 0, 1)


@PAUSES
def test_a_worker_that_does_not_come_back_after_the_pause_has_lost_its_attempts(pause_s: float) -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.kill()
    world.sleep(1)
    world.pause(pause_s)
    world.wake_up()
    other = world.worker("w2")
    world.sleep(4.1)
    assert [call.request_id for call in other.running.values()] == [job_id]


@PAUSES
def test_what_lay_in_sockets_is_read_before_anything_is_lost(pause_s: float) -> None:
    """The worker has noticed the silence, and has connected again: its old link ends, and it claims, before the pause
    is noticed."""
    world = World()
    worker = world.worker()
    first, second = world.submit(), world.submit()
    world.pause(pause_s)
    worker.succeed(first)
    worker.lose_link()
    world.wake_up()
    worker.connect()
    worker.succeed(second)
    assert {world.state(first), world.state(second)} == {"done"}
    assert len(world.begun) == 2


@PAUSES
def test_after_a_kill_claims_are_waited_for_again(pause_s: float) -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()  # is not recorded
    world.kill()
    other = world.worker("w2")
    world.sleep(3.5)
    world.pause(pause_s)
    world.wake_up()
    world.sleep(3.9)
    assert not other.running
    worker.connect()
    worker.succeed(job_id)
    assert (world.state(job_id), len(world.begun)) == ("done", 1)


@PAUSES
def test_a_place_of_a_key_is_held_for_an_absent_worker_again(pause_s: float) -> None:
    world = World()
    worker = world.worker("w1")
    other = world.worker("w2")
    first, second = world.submit(key="k", target="w1"), world.submit(key="k")
    world.change(Cancel, job_id=first)
    worker.lose_link()
    world.sleep(3.5)
    world.pause(pause_s)
    world.wake_up()
    world.sleep(3.9)
    assert not other.running
    world.sleep(0.2)
    assert [call.request_id for call in other.running.values()] == [second]


def test_an_attempt_has_not_run_out_of_time_in_the_pause() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(timeout=5.0)
    world.sleep(1)
    world.pause(3600)
    world.wake_up()
    world.sleep(0.05)
    worker.succeed(job_id)
    assert world.state(job_id) == "done"


@pytest.mark.parametrize("is_away", [False, True])
def test_nor_has_one_that_its_worker_claims_after_it(is_away: bool) -> None:
    world = World()
    worker = world.worker(concurrency=1)
    job_id = world.submit(timeout=60.0)
    world.submit()  # waits for the slot
    world.sleep(50)
    if is_away:
        worker.lose_link()
    world.pause(3600)
    world.wake_up()
    worker.lose_link()
    worker.connect()
    world.sleep(9)
    assert not worker.cancelled
    world.sleep(1.1)
    assert worker.cancelled, "its time is as long as before"
    assert world.view(job_id).started_at == START + 3600


def test_what_begins_before_the_pause_is_noticed_is_recorded_soon() -> None:
    world = World()
    world.worker()
    world.pause(3600)
    job_id = world.submit()
    world.wake_up()
    world.sleep(0.03)
    assert next(kept.change.msg_id for kept in world.disk.jobs.values()) is not None, job_id


def test_what_waits_a_moment_when_the_pause_is_noticed_does_not_wait_for_hours() -> None:
    world = World()
    worker = world.worker("w1", "one", concurrency=1)
    first, second = world.submit("one", key="k"), world.submit("two", key="k")
    world.sleep(1)
    world.pause(3600)
    world.journal.broken_reads = {"FindHeldByKey", "FindAfter", "FindOverdue", "NextInLane"}
    worker.succeed(first)
    held = world.submit("one", after=[second])
    other = world.worker("w2", "two")
    world.wake_up()
    world.journal.broken_reads = set()
    world.sleep(2.5)
    other.succeed(second)
    world.sleep(2.5)
    worker.succeed(held)
    assert world.state(held) == "done"


def test_a_journal_that_failed_before_the_pause_was_noticed_is_tried_again_soon() -> None:
    world = World()
    world.pause(3600)
    world.journal.is_full = True
    world.send()
    assert world.asker.take_code() == "journal_failed"
    world.wake_up()
    world.journal.is_full = False
    world.sleep(1.1)
    assert not world.journal.is_failing
