"""Attempts of kept work: they wait without a deadline, and their requester is notified of each assignment."""

from typing import Final

import pytest
from msgspec import Raw
from taskferry.broker.core.call import Attempt
from taskferry.broker.core.delivery.deadlines import TICK_S
from taskferry.broker.core.explain import explain
from taskferry.broker.core.ports import Piece
from taskferry.broker.core.queue import overload
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import MAY_HAVE_RUN, NOT_DELIVERED, NotRepresentable

from tests.unit.broker.core.listening import WatchfulListener
from tests.unit.broker.core.world import START_S, FakeWorker, World

LONG_S: Final = 300.0


def test_an_attempt_waits_for_a_slot_as_long_as_it_takes_and_then_has_all_of_its_time() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    world.requester().submit(request_id="live", timeout=LONG_S * 2)
    jobs = world.requester()
    jobs.attempt(request_id="job", timeout=5.0)
    world.sleep(LONG_S)
    assert jobs.outcome("job") is None
    worker.succeed("live")
    assert worker.delivered[-1].timeout_s == 5.0
    world.sleep(5.0 - TICK_S)
    assert jobs.outcome("job") is None
    world.sleep(2 * TICK_S)
    answer = jobs.answer("job")
    assert answer.outcome == "timeout"
    assert answer.failure is not None
    assert answer.failure.delivery == MAY_HAVE_RUN
    assert worker.cancels == [(worker.delivered[-1].msg_id, "timeout")]


def test_its_requester_is_notified_of_each_assignment_under_a_msg_id_of_this_epoch() -> None:
    world = World()
    world.core.epoch = "k7f2q"
    assert world.core.epoch == "k7f2q"
    first = world.worker("first", is_stuck=True, concurrency=2)
    jobs = world.requester()
    jobs.attempt(request_id="job")
    world.requester().submit(request_id="live")
    assert [delivery.msg_id for delivery in first.delivered] == ["k7f2q.1", "2"]
    second = world.worker("second", concurrency=2)
    first.leave()
    assert jobs.assignments == [("job", "first", "k7f2q.1"), ("job", "second", "k7f2q.3")]
    second.succeed("job")
    assert jobs.outcome("job") == "success"


def test_one_that_was_not_sent_after_all_waits_again_without_a_deadline() -> None:
    world = World()
    first = world.worker("first", is_stuck=True)
    second = world.worker("second", concurrency=1)
    world.requester().submit(request_id="live", target="second", timeout=LONG_S)
    jobs = world.requester()
    jobs.attempt(request_id="job", timeout=5.0)
    assert first.holds == ["job"]
    world.sleep(3.0)
    first.leave()
    world.sleep(60.0)
    assert jobs.outcome("job") is None
    second.succeed("live")
    assert second.holds == ["job"]
    world.sleep(4.9)
    assert jobs.outcome("job") is None


def test_one_that_may_have_run_is_lost_with_its_worker() -> None:
    world = World()
    first, _ = world.worker("first"), world.worker("second")
    jobs = world.requester()
    jobs.attempt(request_id="job", target="first")
    first.leave()
    answer = jobs.answer("job")
    assert (answer.outcome, answer.worker_id) == ("worker_lost", "first")


def test_without_a_worker_it_is_certainly_not_delivered() -> None:
    world = World()
    jobs = world.requester()
    jobs.attempt(request_id="never")
    worker = world.worker(concurrency=1)
    jobs.attempt(request_id="runs")
    jobs.attempt(request_id="waits")
    worker.leave()
    assert jobs.outcome("runs") == "worker_lost"
    for request_id in ("never", "waits"):
        failure = jobs.answer(request_id).failure
        assert failure is not None
        assert (failure.code, failure.delivery) == ("no_available_workers", NOT_DELIVERED)


def test_attempts_may_exceed_the_bound_of_one_connection() -> None:
    world = World(in_flight_count_max=1)
    world.worker(concurrency=5)
    jobs, live = world.requester(), world.requester()
    assert [jobs.outcome(jobs.attempt()) for _ in range(3)] == [None] * 3
    assert [live.outcome(live.submit()) for _ in range(2)] == [None, "overloaded"]
    jobs.attempt(request_id="twice")
    jobs.attempt(request_id="twice")
    assert [answer.outcome for answer in jobs.answers] == ["duplicate_request_id"]
    world.drain()
    jobs.attempt(request_id="late")
    assert jobs.outcome("late") == "shutting_down"


def test_attempts_are_not_shed_and_do_not_hide_an_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "WAITS_COUNT_MIN", 1)
    world = World()
    worker = world.worker(concurrency=1)
    jobs, live = world.requester(), world.requester()
    for _ in range(20):
        jobs.attempt(priority=0)
    while "echo: overloaded" not in world.events.notified:
        assert world.now < START_S + 60
        for _ in range(5):
            live.submit(timeout=10.0)
        world.sleep(0.5)
        worker.succeed(worker.holds[0])
    world.sleep(3.0)
    assert world.core.queue.shed_count
    assert not jobs.answers or {answer.outcome for answer in jobs.answers} == {"success"}


def test_a_line_of_attempts_alone_is_never_an_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "WAITS_COUNT_MIN", 1)
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    for _ in range(20):
        jobs.attempt(timeout=1.0)
    for _ in range(10):
        for _ in range(2):
            jobs.attempt(timeout=1.0)
        world.sleep(0.9)
        worker.succeed(worker.holds[0])
    assert not world.events.notified
    command = world.core.roster.commands["echo"]
    assert sum(command.queue_wait.counts) == 0, "how long kept work waits is no request's wait"


def test_only_the_time_that_it_ran_is_measured() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    for request_id in ("one", "two", "three"):
        jobs.attempt(request_id=request_id)
    jobs.cancel("three")
    world.sleep(100.0)
    worker.succeed("one")
    world.sleep(0.5)
    worker.succeed("two")
    command = world.core.roster.commands["echo"]
    assert command.outcomes == {"success": 2}
    assert sum(command.duration.counts) == 2
    assert command.duration.sum_s == pytest.approx(100.5)


def test_progress_of_an_attempt_has_the_attempts_number() -> None:
    world = World()
    worker = world.worker(encoding=Encoding.MSGPACK, concurrency=2)
    jobs = world.requester()
    jobs.submit(request_id="job", attempt=Attempt("job", 3, 60.0, is_last=False))
    job = worker.msg_id("job")
    for msg_id in (job, "unknown"):
        worker.report(msg_id, b"\x01")
    assert jobs.reports == [("job", Piece("w", 3, 0, Raw(b"\x01"), Encoding.MSGPACK))]
    jobs.cancel("job")
    worker.report(job, b"\x02")
    assert len(jobs.reports) == 1


def test_at_the_brokers_stop_its_worker_goes_on() -> None:
    world = World()
    worker = world.worker(concurrency=2)
    jobs, live = world.requester(), world.requester()
    jobs.attempt(request_id="job")
    live.submit(request_id="live")
    jobs.attempt(request_id="waits")
    world.stop()
    assert jobs.outcome("job") == live.outcome("live") == "broker_stopped"
    assert jobs.outcome("waits") == "shutting_down"
    assert worker.cancels == [(worker.msg_id("live"), "shutting_down")]
    worker.succeed("job")
    assert len(jobs.answers) == 2, "what comes now is for the next start"


def test_what_a_handler_says_of_another_attempt_is_passed_on_and_is_no_fault_of_the_worker() -> None:
    world = World()
    worker = world.worker()
    jobs = world.requester()
    said: list[tuple[float | bool | None, bool]] = [(None, True), (True, True), (False, False), (2.5, False)]
    tally = worker.session.commands[world.core.roster.commands["echo"]]
    for retry, is_counted in said:
        before = worker.session.failed_count
        failed_count = tally.failed_count
        request_id = jobs.attempt()
        worker.fail(request_id, "no", retry=retry)
        failure = jobs.answer(request_id).failure
        assert failure is not None
        assert failure.retry is retry
        assert tally.failed_count - failed_count == is_counted
        assert worker.session.failed_count == before + 1
    request_id = jobs.attempt()
    worker.fail(request_id, "going", "worker_stopping")
    assert jobs.outcome(request_id) == "worker_stopping"
    assert tally.neutral_count == 3


def test_a_worker_that_cannot_read_it_does_not_begin_it() -> None:
    world = World()
    worker = world.worker()
    worker.refuses = NotRepresentable("data: too odd")
    jobs = world.requester()
    jobs.attempt(request_id="job")
    assert jobs.outcome("job") == "not_representable"
    assert not jobs.assignments


def test_a_pause_of_the_broker_costs_neither_a_waiting_nor_a_running_one_its_time() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="runs", timeout=5.0)
    jobs.attempt(request_id="waits", timeout=5.0)
    world.pause(60.0)
    assert not jobs.answers
    worker.succeed("runs")
    world.sleep(4.9)
    assert worker.holds == ["waits"]
    assert jobs.outcome("waits") is None


def test_explain_shows_no_deadline_for_one_that_waits() -> None:
    world = World()
    world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="runs", timeout=5.0)
    jobs.attempt(request_id="waits")
    (runs,), (waits,) = (explain(world.core, request_id, world.now) for request_id in ("runs", "waits"))
    assert (runs["remaining_s"], waits["remaining_s"]) == (5.0, None)
    assert runs["is_job"] is waits["is_job"] is True


# --- adoption -----------------------------------------------------------------------------------------------------


def test_an_adopted_attempt_takes_a_slot_before_anything_is_assigned() -> None:
    world = World(listener=WatchfulListener())
    world.worker("busy", concurrency=1)
    live, jobs = world.requester(), world.requester()
    for request_id in ("a", "b"):
        live.submit(request_id=request_id)
    back = FakeWorker(world, "back", ("echo",), concurrency=1)
    back.join([back.adopt(jobs, "job", "old.7")])
    assert back.holds == ["job"]
    back.succeed("job", b'"late"')
    assert jobs.answer("job").data == b'"late"'
    assert back.holds == ["b"]


def test_a_worker_with_more_than_it_has_slots_gets_nothing_until_it_has_room() -> None:
    world = World()
    world.worker("busy", concurrency=1)
    live, jobs = world.requester(), world.requester()
    for request_id in ("a", "b"):
        live.submit(request_id=request_id)
    back = FakeWorker(world, "back", ("echo",), concurrency=2)
    back.join([back.adopt(jobs, f"job{number}", f"old.{number}") for number in range(4)])
    for number in range(2):
        back.succeed(f"job{number}")
        assert "b" not in back.holds
    back.succeed("job2")
    assert back.holds == ["job3", "b"]


def test_an_adopted_attempt_has_the_time_that_is_left_and_is_lost_with_its_worker() -> None:
    world = World()
    jobs = world.requester()
    back = FakeWorker(world, "back", ("echo",))
    back.join([back.adopt(jobs, "short", "old.1", timeout=5.0), back.adopt(jobs, "long", "old.2")])
    world.sleep(5.1)
    assert jobs.outcome("short") == "timeout"
    assert back.cancels == [("old.1", "timeout")]
    back.leave()
    assert jobs.outcome("long") == "worker_lost"


def test_a_claim_over_a_new_connection_moves_the_attempt_there() -> None:
    world = World(listener=WatchfulListener())
    old = world.worker("w", instance="one", concurrency=2)
    jobs = world.requester()
    jobs.attempt(request_id="kept", timeout=60.0)
    jobs.attempt(request_id="lost")
    world.sleep(10.0)
    new = FakeWorker(world, "w", ("echo",), instance="one", concurrency=2)
    new.join([new.adopt(jobs, "kept", old.msg_id("kept"))])
    assert old.is_replaced
    assert jobs.outcome("lost") == "worker_lost"
    assert new.holds == ["kept"]
    world.sleep(49.9)
    assert jobs.outcome("kept") is None
    new.succeed("kept")
    assert jobs.outcome("kept") == "success"


def test_if_the_old_connection_is_another_workers_its_slot_is_free_for_others() -> None:
    world = World()
    old = world.worker("old", concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="kept")
    jobs.attempt(request_id="waits")
    new = FakeWorker(world, "new", ("echo",), concurrency=1)
    new.join([new.adopt(jobs, "kept", old.deliveries.pop(old.msg_id("kept")).msg_id)])
    assert (old.holds, new.holds) == (["waits"], ["kept"])


def test_no_waiting_makes_up_for_the_priority_of_an_attempt_among_attempts() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="runs")
    jobs.attempt(request_id="old", priority=3)
    world.sleep(LONG_S)
    world.requester().submit(request_id="live", timeout=LONG_S)
    jobs.attempt(request_id="high", priority=9)
    jobs.attempt(request_id="middle", priority=4)
    positions = {
        request_id: explain(world.core, request_id, world.now)[0]["position"]
        for request_id in ("high", "middle", "old", "live")
    }
    assert positions == {"high": 1, "middle": 2, "old": 3, "live": 4}
    for request_id in ("runs", "high", "middle", "old", "live"):
        assert worker.holds == [request_id]
        worker.succeed(request_id)


def test_the_oldest_attempt_goes_first_even_while_requests_are_shed() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="runs")
    for request_id in ("first", "second"):
        jobs.attempt(request_id=request_id)
    world.core.roster.commands["echo"].route.waiting.overload.is_overloaded = True
    worker.succeed("runs")
    assert worker.holds == ["first"]
