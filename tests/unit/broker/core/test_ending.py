"""Requests ended from outside: by a cancel, by a requester that leaves, and by the broker's shutdown."""

from tests.unit.broker.core.world import World


def test_a_cancelled_request_is_answered_and_its_worker_sent_a_cancel() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit()
    msg_id = worker.msg_id(request_id)
    requester.cancel(request_id)
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.text, answer.worker_id) == ("cancelled", "Request cancelled", "w")
    assert worker.cancels == [(msg_id, "cancelled")]
    assert worker.session.in_flight_count == 1
    worker.fail(request_id, "cancelled", "cancelled")
    assert world.core.counts.late_responses_count == 1
    assert worker.session.in_flight_count == 0
    assert len(requester.answers) == 1


def test_a_waiting_request_can_be_cancelled() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit()
    waiting = requester.submit()
    requester.cancel(waiting)
    answer = requester.answer(waiting)
    assert (answer.outcome, answer.worker_id) == ("cancelled", None)
    assert worker.cancels == []
    assert world.core.queue.count == 0


def test_cancelling_a_request_that_is_not_in_flight_does_nothing() -> None:
    world = World()
    worker, requester, other = world.worker(), world.requester(), world.requester()
    request_id = requester.submit()
    requester.cancel("never-sent")
    other.cancel(request_id)
    assert worker.cancels == []
    worker.succeed(request_id)
    requester.cancel(request_id)
    assert [answer.outcome for answer in requester.answers] == ["success"]


def test_all_requests_of_a_requester_that_leaves_are_cancelled() -> None:
    world = World()
    worker, requester, other = world.worker("w"), world.requester(), world.requester()
    running = requester.submit()
    msg_id = worker.msg_id(running)
    requester.submit()
    waiting = other.submit()
    requester.leave()
    assert worker.cancels == [(msg_id, "requester_gone")]
    assert world.core.queue.count == 1
    assert world.core.roster.commands["echo"].outcomes == {"requester_gone": 2}
    worker.succeed(running)
    assert world.core.counts.late_responses_count == 1
    assert worker.holds == [waiting]
    other.leave()
    worker.leave()
    world.check_nothing_is_left()


def test_a_stopping_broker_answers_all_requests_in_flight() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    running, waiting = requester.submit(), requester.submit()
    msg_id = worker.msg_id(running)
    world.drain()
    assert requester.answers == []
    world.stop()
    answer = requester.answer(running)
    assert (answer.outcome, answer.worker_id) == ("broker_stopped", "w")
    assert answer.text == "Broker stopped before the worker answered: the command may have run"
    assert requester.outcome(waiting) == "shutting_down", "it certainly did not run"
    assert worker.cancels == [(msg_id, "shutting_down")]
    assert requester.outcome(requester.submit()) == "shutting_down"


def test_requests_in_flight_go_on_while_the_broker_drains() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    running, waiting = requester.submit(), requester.submit()
    world.drain()
    worker.succeed(running)
    assert worker.holds == [waiting]
    worker.succeed(waiting)
    assert requester.outcome(waiting) == "success"
    world.stop()
    assert world.core.counts.in_flight_count == 0


def test_a_stopped_broker_admits_nothing() -> None:
    world = World()
    world.worker()
    requester = world.requester()
    world.stop()
    assert requester.answers == []
    assert requester.outcome(requester.submit()) == "shutting_down"
