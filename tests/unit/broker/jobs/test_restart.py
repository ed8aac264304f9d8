"""Restarts of either side, and journals that fail."""

import dataclasses

from taskferry.broker.core.adopted import Adopted
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.offer import Offer
from taskferry.broker.jobs.invariants import check_invariants
from taskferry.broker.jobs.settings import JobSettings
from taskferry.protocol.job_messages import Receipt
from taskferry.protocol.messages import Claim

from tests.unit.broker.jobs.world import FakeAsker, World


def test_what_runs_goes_on_after_the_broker_was_killed() -> None:
    world = World()
    worker = world.worker()
    recorded = world.submit()
    world.sleep(0.1)
    fresh = world.submit()
    waiting = world.submit("send")
    world.kill()
    worker.connect()
    assert {call.request_id for call in worker.running.values()} == {recorded, fresh}
    assert world.jobs.counts.adopted_count == 2
    worker.succeed(recorded)
    worker.succeed(fresh)
    assert [job_id for job_id, _, _ in world.begun] == [recorded, fresh]
    assert {world.state(recorded), world.state(fresh)} == {"done"}
    assert world.state(waiting) == "accepted"


def test_a_result_that_was_not_settled_is_sent_again() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.lose_link()
    worker.succeed(job_id, "kept")
    world.kill()
    worker.connect()
    assert world.state(job_id) == "done"
    assert not worker.ended


def test_what_nobody_claims_runs_again_after_a_while() -> None:
    world = World()
    world.worker()
    lost, waiting = world.submit(), world.submit("send")
    world.sleep(0.1)
    world.kill()
    world.worker("w2", "echo", "send")
    assert len(world.begun) == 1, "workers may still come back"
    world.sleep(4.2)
    assert sorted(world.begun[1:]) == [(lost, 2, "w2"), (waiting, 1, "w2")]
    assert world.view(lost).losses == 1


def test_a_worker_that_comes_back_without_them_loses_its_attempts_at_once() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.kill()
    worker.connect()
    assert world.begun == [(job_id, 1, "w1"), (job_id, 2, "w1")]


def test_a_lost_connection_costs_nothing_if_the_worker_is_back_in_time() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.lose_link()
    world.sleep(2)
    worker.connect()
    world.sleep(5)
    worker.succeed(job_id)
    view = world.view(job_id)
    assert (view.state, view.losses, view.attempt) == ("done", 0, 1)
    worker.connect()
    job_id = world.submit()
    worker.connect()
    worker.succeed(job_id)
    assert world.state(job_id) == "done"


def test_claims_of_what_is_over_or_elsewhere_are_not_adopted() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.lose_link()
    world.sleep(4.2)
    other = world.worker("w2")
    assert other.running
    worker.connect()
    assert not worker.running
    assert worker.settled
    msg_id = other.msg_id_of(job_id)
    liar = world.worker("w3", "nothing")
    adopted: list[object] = []
    claims = [Claim(msg_id, job_id, 2), Claim("x.1", "unknown", 1)]
    assert world.jobs.claim("w3", Offer(("echo",)), claims, adopted.extend, world.now) is None
    world.turn()
    assert not adopted
    assert liar.link is not None


def test_an_attempt_that_waits_again_is_taken_back_for_the_worker_that_has_it() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    world.submit()
    job_id = world.submit()
    assert job_id in world.jobs.memory.by_id

    def gone_again(adopted: list[Adopted]) -> None:
        assert [one.msg_id for one in adopted] == ["old.1"]
        failure = Failure("worker_lost", "gone", None, "may_have_run")
        adopted[0].requester.port.fail(job_id, failure, "w8")

    world.jobs.claim("w8", Offer(("echo",)), [Claim("old.1", job_id, 1)], gone_again, world.now)
    world.turn()
    assert world.state(job_id) == "assigned"
    world.sleep(4.2)
    assert world.view(job_id).losses == 1
    assert worker.running


def test_claims_and_questions_before_the_journal_was_read() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    world.sleep(0.1)
    world.is_lazy = True
    world.kill()
    worker.connect()
    idle = world.worker("w2")
    assert idle.link is not None
    assert worker.link is None
    world.settle()
    worker.succeed(job_id)
    assert [number for _, number, _ in world.begun] == [1]


def test_the_journal_is_read_again_until_it_can_be() -> None:
    world = World()
    job_id = world.submit()
    world.is_lazy = True
    world.kill()
    world.journal.is_broken = True
    world.send()
    world.settle()
    assert world.asker.take_code() == "journal_failed"
    world.jobs.advance(world.now)
    world.journal.is_broken = False
    world.is_lazy = False
    world.sleep(1.1)
    assert world.jobs.is_open
    assert world.state(job_id) == "accepted"


def test_an_orderly_stop_costs_nothing() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    running, waiting = world.submit(), world.submit()
    once = world.submit(at_most_once=True)
    world.jobs.drain(world.now)
    world.turn()
    late = world.submit()
    assert not set(world.jobs.memory.by_id) - {running}
    world.core.drain()
    world.core.stop(world.core_now)
    world.turn()
    worker.kill()
    world.kill()
    world.sleep(4.2)
    world.worker("w2")
    assert [job_id for job_id, _, _ in world.begun][:2] == [running, running]
    assert {job_id for job_id, _, _ in world.begun[2:]} == {waiting, once, late}
    assert world.view(running).losses == 0


def test_a_drain_while_a_job_that_may_run_once_is_written() -> None:
    world = World(is_lazy=True)
    world.worker()
    world.settle()
    world.send(at_most_once=True)
    for _ in range(2):
        world.journal.work()
        world.journal.answer()
        world.turn()
    world.jobs.drain(world.now)
    world.settle()
    view = world.view("job-1")
    assert (view.state, view.attempt) in {("accepted", 0), ("assigned", 1)}


def test_a_full_disk_refuses_submissions_and_keeps_all_else() -> None:
    world = World(is_lazy=True)
    worker = world.worker()
    world.settle()
    world.send(job_id="one")
    world.send(job_id="held", receipts=True)
    world.settle()
    world.asker.sent.clear()
    world.journal.is_full = True
    waiting = FakeAsker()
    world.wait_for("one", waiting)
    worker.succeed("one", "result")
    world.send("new", job_id="two")
    world.send("new", job_id="two")
    world.settle()
    assert [sent[1].code for sent in world.asker.sent] == ["journal_failed"] * 2
    assert not waiting.sent
    assert not worker.settled
    world.asker.sent.clear()
    world.send()
    assert world.asker.take_code() == "journal_failed", "at once"
    world.sleep(3)
    world.settle()
    world.journal.is_full = False
    world.sleep(1.1)
    world.settle()
    assert waiting.take()[0] == "a"
    assert worker.settled
    world.send("new", job_id="two")
    world.settle()
    assert world.asker.take() == Receipt("r", "two", "accepted")
    assert world.jobs.counts.refused == {"journal_failed": 3}


def test_a_journal_recovers_with_nothing_left_to_write() -> None:
    world = World()
    world.journal.is_full = True
    world.send()
    assert world.asker.take_code() == "journal_failed"
    assert not world.jobs.lanes
    world.journal.is_full = False
    world.sleep(1.1)
    assert not world.journal.is_failing
    world.submit()


def test_lanes_do_not_spin_while_the_journal_fails() -> None:
    world = World()
    worker = world.worker(concurrency=4)
    for _ in range(20):
        world.submit()
    world.journal.is_full = True
    for _ in range(6):
        worker.succeed(next(iter(worker.running.values())).request_id)
    world.sleep(2)
    world.journal.is_full = False
    world.sleep(3)
    while worker.running:
        worker.succeed(next(iter(worker.running.values())).request_id)
    world.sleep(3)
    assert len(world.begun) >= 20


def test_settings_change_while_it_runs() -> None:
    world = World()
    world.jobs.reconfigure(dataclasses.replace(JobSettings(), open_count_max=0))
    world.send()
    assert world.asker.take_code() == "overloaded"
    check_invariants(world.jobs)
