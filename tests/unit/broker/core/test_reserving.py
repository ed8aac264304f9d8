"""Attempts that reserve a slot first, and are sent when their requester says so."""

from taskferry.broker.core.delivery.deadlines import TICK_S
from taskferry.broker.core.explain import explain
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NOT_DELIVERED, NotRepresentable

from tests.unit.broker.core.listening import WatchfulListener
from tests.unit.broker.core.world import World


def test_nothing_is_sent_before_the_word_and_then_it_has_all_of_its_time() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="job", timeout=5.0, reserves=True)
    world.requester().submit(request_id="live", timeout=100.0)
    world.sleep(60.0)
    assert not worker.delivered
    assert worker.session.in_flight_count == 1, "the slot is taken"
    assert explain(world.core, "job", world.now)[0]["remaining_s"] is None
    assert jobs.send_reserved("job")
    assert [delivery.request_id for delivery in worker.delivered] == ["job"]
    assert not jobs.send_reserved("job"), "once"
    world.sleep(5.0 - TICK_S)
    assert jobs.outcome("job") is None
    world.sleep(2 * TICK_S)
    assert jobs.outcome("job") == "timeout"
    worker.fail("job")
    assert worker.holds == ["live"]


def test_one_that_is_cancelled_before_has_not_run_and_gives_its_slot_to_the_next() -> None:
    world = World(listener=WatchfulListener())
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    world.requester().submit(request_id="live")
    jobs.cancel("job")
    answer = jobs.answer("job")
    assert answer.failure is not None
    assert (answer.outcome, answer.failure.delivery) == ("cancelled", NOT_DELIVERED)
    assert worker.holds == ["live"]
    assert not worker.cancels
    assert not jobs.send_reserved("job")


def test_a_requester_that_leaves_gives_its_slots_back() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    world.requester().submit(request_id="live")
    jobs.leave()
    assert worker.holds == ["live"]


def test_one_whose_worker_is_lost_reserves_another_slot_under_a_new_msg_id() -> None:
    world = World()
    first = world.worker("first")
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    world.worker("second")
    first.leave()
    (_, _, before), (_, worker_id, after) = jobs.assignments
    assert worker_id == "second"
    assert not jobs.send_reserved("job", before)
    assert jobs.send_reserved("job", after)


def test_one_that_waits_again_is_not_sent_under_its_old_msg_id() -> None:
    world = World()
    first, second = world.worker("first"), world.worker("second", concurrency=1)
    world.requester().submit(request_id="live", target="second")
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    first.leave()
    assert not jobs.send_reserved("job")
    second.succeed("live")
    assert jobs.send_reserved("job")
    assert second.holds == ["job"]


def test_one_that_its_worker_cannot_read_reserves_a_slot_where_it_can_be_read() -> None:
    world = World()
    first = world.worker("first", encoding=Encoding.MSGPACK, concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    second = world.worker("second", concurrency=1)
    first.refuses = NotRepresentable("data: too odd")
    assert jobs.send_reserved("job")
    assert [worker_id for _, worker_id, _ in jobs.assignments] == ["first", "second"]
    assert first.session.in_flight_count == 0
    assert not second.delivered
    assert jobs.send_reserved("job")
    assert second.holds == ["job"]


def test_one_that_nobody_can_read_fails_and_its_slot_is_free() -> None:
    world = World()
    worker = world.worker(encoding=Encoding.MSGPACK, concurrency=1)
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    jobs.attempt(request_id="next")
    worker.refuses = NotRepresentable("data: too odd")
    assert jobs.send_reserved("job")
    answer = jobs.answer("job")
    assert answer.failure is not None
    assert (answer.outcome, answer.failure.delivery) == ("not_representable", NOT_DELIVERED)
    assert jobs.outcome("next") == "not_representable"
    assert worker.session.in_flight_count == 0


def test_at_the_brokers_stop_it_has_not_run() -> None:
    world = World()
    worker = world.worker()
    jobs = world.requester()
    jobs.attempt(request_id="job", reserves=True)
    world.stop()
    answer = jobs.answer("job")
    assert answer.failure is not None
    assert (answer.outcome, answer.failure.delivery) == ("shutting_down", NOT_DELIVERED)
    assert not worker.cancels
