"""Things that happen at the same time: answers of the journal that come together, and ends that are overtaken."""

import pytest
from msgspec import Raw
from taskferry.broker.core.offer import Offer
from taskferry.broker.jobs import attempts, kept
from taskferry.broker.jobs.invariants import check_invariants
from taskferry.broker.jobs.states import Hold, JobState
from taskferry.protocol.job_messages import Filter, Receipt, Remove, Retry, Unique
from taskferry.protocol.messages import Cancel, Claim

from tests.unit.broker.jobs.world import FakeAsker, World


def lazy_world(**settings: float) -> World:
    world = World(is_lazy=True, **settings)
    world.settle()
    return world


def answer_together(world: World) -> None:
    """All that the journal was asked for is answered before the broker's next turn."""
    while world.journal.work():
        pass
    while world.journal.answer():
        pass
    world.turn()


def test_a_job_is_cancelled_while_its_worker_connects_again() -> None:
    world = lazy_world()
    worker = world.worker()
    world.send(job_id="one")
    world.settle()
    world.asker.sent.clear()
    world.jobs.cancel(world.asker, Cancel("c", "one"), world.now)
    world.turn()
    worker.connect()
    answer_together(world)
    world.settle()
    assert world.state("one") == "cancelled"
    assert not worker.running


def test_an_orphan_is_cancelled() -> None:
    world = World()
    worker = world.worker()
    one, two = world.submit(), world.submit()
    worker.lose_link()
    assert world.change(Cancel, job_id=one) == 1
    assert world.state(one) == "cancelled"
    worker.connect()
    assert [call.request_id for call in worker.running.values()] == [two]
    world.core.stop(world.core_now)
    world.turn()
    assert world.change(Cancel, job_id=two) == 1
    assert not world.jobs.memory.by_id


def test_a_job_that_may_run_once_is_displaced_while_it_is_written() -> None:
    world = lazy_world()
    world.worker(concurrency=1)
    world.send("echo")
    world.settle()
    for _ in range(4):
        world.send(at_most_once=True)
    world.send(job_id="high", priority=9)
    answer_together(world)
    world.send(priority=9)
    answer_together(world)
    world.settle()
    assert world.jobs.counts.open_count == 7


def test_a_job_that_may_run_once_is_displaced_before_it_was_written() -> None:
    world = lazy_world()
    world.worker(concurrency=1)
    world.send("echo")
    world.settle()
    for _ in range(4):
        world.send(at_most_once=True)
    world.send(priority=9)
    answer_together(world)
    world.settle()
    lane = next(iter(world.jobs.lanes.values()))
    assert lane.loaded_count == 4
    assert "job-5" not in world.jobs.memory.by_id


def test_a_drain_comes_while_a_job_that_may_run_once_is_written() -> None:
    world = lazy_world()
    world.worker()
    world.send(at_most_once=True)
    answer_together(world)
    world.jobs.drain(world.now)
    world.turn()
    world.settle()
    view = world.view("job-1")
    assert (view.state, view.attempt) == ("accepted", 0)
    assert not world.begun


def test_claims_that_fit_nothing() -> None:
    world = World()
    worker = world.worker(concurrency=20)
    done, failed, other = world.submit(), world.submit(backoff=100), world.submit("send")
    worker.succeed(done)
    worker.fail(failed)
    held = world.submit("send", after=[other])
    claims = [Claim(f"x.{n}", f"job-x{n}", 1) for n in range(1001)]
    claims += [Claim("x.a", done, 1), Claim("x.b", failed, 1), Claim("x.c", held, 1), Claim("x.d", other, 7)]
    answers: list[list[object]] = []
    world.jobs.claim("w7", Offer(("echo",)), claims, answers.append, world.now)  # type: ignore[arg-type]
    world.turn()
    assert answers == [[]]
    world.journal.is_broken = True
    world.jobs.claim("w7", Offer(("echo",)), claims, answers.append, world.now)  # type: ignore[arg-type]
    world.turn()
    assert answers == [[], []]


def test_a_job_that_may_run_once_goes_on_although_its_assignment_was_not_recorded() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(at_most_once=True)
    world.kill()
    worker.connect()
    worker.succeed(job_id)
    assert world.state(job_id) == "done"
    assert len(world.begun) == 1


def test_workers_that_leave_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "LEAVING_COUNT_MAX", 1)
    world = World()
    first, second = world.worker("w1", concurrency=1), world.worker("w2", concurrency=1)
    jobs = world.submit(), world.submit()
    for worker in (first, second):
        worker.leave()
    for worker in (first, second):
        worker.kill()
    world.sleep(4.2)
    assert sorted(world.view(job_id).losses for job_id in jobs) == [0, 1]


def test_two_removals_of_the_same_at_once() -> None:
    world = lazy_world()
    worker = world.worker()
    for name in ("one", "two"):
        world.send(job_id=name)
    world.settle()
    for name in ("one", "two"):
        worker.succeed(name)
    world.settle()
    world.asker.sent.clear()
    for _ in range(2):
        world.jobs.remove(world.asker, Remove("c", filter=Filter()), world.now)
    answer_together(world)
    world.settle()
    assert sorted(sent.count for sent in world.asker.sent) == [0, 2]


def test_a_removal_in_its_time_is_overtaken_by_a_retry() -> None:
    world = lazy_world(keep_dead_s=1.0)
    worker = world.worker()
    world.send(job_id="one", attempts=1)
    world.settle()
    worker.fail("one")
    world.settle()
    world.asker.sent.clear()
    world.jobs.retry(world.asker, Retry("c", "one"), world.now)
    world.turn()
    world.sleep(2)
    answer_together(world)
    world.settle()
    assert world.jobs.counts.open_count == 1


def test_what_is_overdue_is_found_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ROWS_PER_READ_MAX", 1)
    world = World(keep_done_s=0.5)
    worker = world.worker()
    for job_id in [world.submit() for _ in range(5)]:
        worker.succeed(job_id)
    world.sleep(1.6)
    assert not world.disk.jobs


def test_a_job_goes_to_disk_while_its_lane_is_read() -> None:
    world = lazy_world()
    for _ in range(6):
        world.send()
    world.settle()
    worker = world.worker(concurrency=2)
    world.send()
    assert worker.link is not None
    world.settle()
    while worker.running:
        worker.succeed(next(iter(worker.running.values())).request_id)
        world.settle()
    assert len(world.begun) == 7


def test_a_job_with_a_time_to_end_is_tried_again_before_it() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(expires_at=world.now + 100)
    worker.fail(job_id)
    assert world.state(job_id) == "accepted"
    world.sleep(1.1)
    worker.succeed(job_id)
    assert world.state(job_id) == "done"


def test_whoever_wanted_receipts_has_gone_before_the_commit() -> None:
    world = lazy_world()
    world.worker()
    world.send(receipts=True)
    answer_together(world)
    world.leave(world.asker)
    world.settle()
    assert [type(sent) for sent in world.asker.sent] == [Receipt]


def test_two_jobs_are_followed_by_one_connection() -> None:
    world = World()
    worker = world.worker()
    for name in ("one", "two"):
        world.send(job_id=name, receipts=True)
    worker.succeed("one")
    assert world.jobs.lives.followers.count == 1


def test_a_duplicate_is_answered_although_a_submission_beside_it_fails() -> None:
    world = lazy_world()
    world.send(job_id="one")
    world.settle()
    world.asker.sent.clear()
    world.send(job_id="one")
    world.send(job_id="two")
    world.journal.work()
    world.journal.work()
    world.journal.is_full = True
    answer_together(world)
    world.settle()
    world.journal.is_full = False
    world.sleep(1.1)
    world.settle()
    assert sorted(type(sent).__name__ for sent in world.asker.sent) == ["Receipt", "tuple"]


def test_writes_that_fail_one_after_another_keep_their_order() -> None:
    world = lazy_world()
    worker = world.worker()
    for name in ("one", "two"):
        world.send(job_id=name)
    world.settle()
    world.asker.sent.clear()
    world.journal.is_full = True
    worker.succeed("one")
    world.send()
    worker.fail("two")
    world.send(unique="k")
    world.settle()
    world.sleep(1.1)
    world.journal.is_full = False
    world.journal.is_failing = False
    world.send()
    world.settle()
    world.sleep(1.1)
    world.settle()
    assert world.state("one") == "done"
    assert world.view("two").failed[0].attempt == 1


def test_a_job_is_replaced_before_it_is_on_disk() -> None:
    for is_full in (False, True):
        world = lazy_world()
        world.send(job_id="one")
        for _ in range(2):
            world.send(unique=Unique("k", conflict="replace"))
        world.journal.is_full = is_full
        world.settle()
        world.journal.is_full = False
        world.sleep(2.2)
        world.settle()
        assert len(world.asker.sent) == 3
        world.send(unique="k")
        world.settle()


def test_a_look_for_a_unique_key_fails() -> None:
    world = World()
    world.journal.broken_reads = {"FindUnique"}
    world.send(unique="k")
    assert world.asker.take_code() == "journal_failed"


def test_the_invariants_hold_before_the_core_was_heard() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    assert worker.link is not None
    world.core.succeeded(worker.link, worker.msg_id_of(job_id), Raw(b"\xc0"), world.core_now)
    check_invariants(world.jobs)
    world.turn()
    assert world.state(job_id) == "done"
    asker = FakeAsker()
    world.wait_for(job_id, asker)
    assert asker.take() == ("a", b"\xc0")


def test_a_job_is_written_while_its_lane_is_read() -> None:
    world = lazy_world()
    world.send()
    world.settle()
    world.send(priority=9)
    worker = world.worker(concurrency=1)
    assert world.journal.work()
    assert world.journal.answer()
    world.turn()
    assert not worker.running, "the lane is being read"
    world.settle()
    assert len(world.begun) == 1
    worker.succeed(world.begun[0][0])
    world.settle()
    assert len(world.begun) == 2


def test_a_job_that_two_things_hold_waits_for_both() -> None:
    world = World()
    job_id = world.submit()
    stored = world.disk.jobs[1].stored()
    job, lives = world.jobs.memory.take(stored), world.jobs.lives
    lives.hold(job, Hold.AFTER)
    lives.hold(job, Hold.KEY)
    lives.release(job, Hold.AFTER)
    assert job.state is JobState.HELD
    lives.release(job, Hold.KEY)
    world.jobs.stir()
    world.turn()
    assert world.state(job_id) == "accepted"


def test_an_older_job_of_a_unique_key_does_not_hide_the_latest() -> None:
    world = World()
    worker = world.worker()
    older = world.submit(unique="k")
    worker.succeed(older)
    latest = world.submit(unique="k")
    assert world.change(Remove, job_id=older) == 1
    assert world.submit(unique="k") == latest
