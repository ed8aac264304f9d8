"""What follows from each attempt in its details: what its worker is told, and what is written of its end."""

import pytest
from msgspec import Raw
from taskferry.broker.core.call import Attempt, Call
from taskferry.broker.jobs import adoption, lanes
from taskferry.protocol.errors import NotRepresentable
from taskferry.protocol.messages import Defaults

from tests.unit.broker.jobs.world import START, World

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_an_attempt_carries_what_its_submission_asked_for() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(attempts=2, backoff=0.1, affinity="a", trace=TRACE, priority=3, timeout=7.0)
    for number in (1, 2):
        (call,) = worker.running.values()
        assert (call.affinity, call.trace, call.priority) == ("a", TRACE, 3)
        attempt = call.attempt
        assert attempt is not None
        assert (attempt.job_id, attempt.number, attempt.timeout_s) == (job_id, number, 7.0)
        assert attempt.is_last is (number == 2)
        worker.fail(job_id)
        world.sleep(0.2)
    assert world.state(job_id) == "dead"


def test_what_is_known_of_attempts_that_failed_and_were_lost() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(backoff=1.0)
    world.sleep(1)
    worker.fail(job_id, "out_of_stock", "no screws")
    world.sleep(2)
    worker.kill()
    world.sleep(4.5)
    failed, lost = world.view(job_id).failed
    assert (failed.attempt, failed.worker_id, failed.code, failed.error) == (
        1,
        "w1",
        "out_of_stock",
        "no screws",
    )
    assert (failed.started_at, failed.ended_at) == (START, START + 1)
    assert (lost.attempt, lost.worker_id, lost.code) == (2, "w1", "worker_lost")
    assert lost.error
    assert lost.ended_at is not None
    assert lost.ended_at == pytest.approx(START + 7, abs=0.1)
    assert world.jobs.counts.attempts == {"handler_error": 1, "worker_lost": 1}


@pytest.mark.parametrize("is_once", [False, True])
def test_a_job_that_is_dead_says_why(is_once: bool) -> None:
    world = World()
    world.refuses_data = NotRepresentable("data: too odd")
    world.worker()
    job_id = world.submit(at_most_once=is_once)
    view = world.view(job_id)
    assert (view.state, view.code, view.error) == ("dead", "not_representable", "data: too odd")
    world.refuses_data = None
    once = world.submit(at_most_once=True)
    world.workers["w1"].kill()
    world.sleep(5)
    view = world.view(once)
    assert (view.state, view.code) == ("dead", "worker_lost")
    assert view.error


def test_a_worker_that_has_left_in_order_and_is_back_is_one_to_lose_again() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.leave()
    worker.lose_link()
    worker.connect()
    assert worker.running
    worker.kill()
    world.sleep(5)
    assert world.view(job_id).losses == 1


def test_more_claims_than_one_read_takes_are_all_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "ROWS_PER_READ_MAX", 2)
    world = World()
    worker = world.worker(concurrency=7)
    jobs = {world.submit() for _ in range(7)}  # which are not recorded: each is read
    world.kill()
    worker.connect()
    assert {call.request_id for call in worker.running.values()} == jobs
    assert world.jobs.counts.adopted_count == 7


def test_a_claim_of_what_nobody_knows_does_not_hide_the_next() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    world.kill()
    unknown = Call("nobody", "echo", Raw(b""), attempt=Attempt("nobody", 1, 60.0, is_last=False))
    worker.running = {"e0.1": unknown, **worker.running}
    worker.connect()
    assert [call.request_id for call in worker.running.values()] == [job_id]
    assert worker.settled == ["e0.1"]


def test_an_attempt_that_is_adopted_has_the_rest_of_the_time_that_its_worker_declares() -> None:
    world = World()
    worker = world.worker(defaults={"echo": Defaults(timeout=10.0)})
    world.submit()
    world.sleep(4)
    worker.lose_link()
    worker.connect()
    world.sleep(5.9)
    assert not worker.cancelled
    world.sleep(0.2)
    assert worker.cancelled


def test_jobs_of_a_target_have_a_lane_of_their_own_which_is_the_same_after_a_restart() -> None:
    world = World()
    target = {"zone": "a"}
    world.submit()
    world.submit(target=target)
    assert [lane.target for lane in world.jobs.lanes.values()] == [None, target]
    world.kill()
    world.submit(target=target)
    world.submit()
    assert [lane.jobs_count for lane in world.jobs.lanes.values()] == [2, 2]
    assert world.submit("other")
    assert sorted(world.jobs.lanes) == [1, 2, 3]


def test_a_pause_of_a_lane_is_as_long_as_before_if_the_clock_is_set() -> None:
    world = World()
    world.worker()
    world.submit()
    lane = world.jobs.lanes[1]
    lane.not_before = world.now + 0.5
    for by_s in (3600.0, -7200.0):
        world.now += by_s
        world.jobs.clock_stepped(by_s, world.now)
        assert lane.not_before == world.now + 0.5
    lane.not_before = world.now + 100
    world.jobs.clock_stepped(0.6, world.now)
    assert lane.not_before == world.now + lanes.PAUSE_S_MAX
