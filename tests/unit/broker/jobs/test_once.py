"""Jobs that run at most once: a worker gets one only after it is on disk that it may have begun."""

import pytest
from taskferry.broker.jobs.job import STARTING
from taskferry.protocol.errors import NotRepresentable
from taskferry.protocol.job_messages import JobAssigned, Unique

from tests.unit.broker.jobs.world import FakeWorker, World


def reserved(world: World) -> FakeWorker:
    """A worker at which a slot is reserved for job `once`, which is not on disk."""
    worker = world.worker("w1", concurrency=1)
    world.settle()
    world.is_lazy = True
    world.send(job_id="once", at_most_once=True)
    while not (worker.link and worker.link.in_flight_count):
        assert world.journal.work()
        assert world.journal.answer()
        world.turn()
    assert "once" not in [job_id for job_id, _, _ in world.begun]
    return worker


def test_one_that_waited_for_a_slot_when_the_broker_was_killed_runs() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    first, once = world.submit(), world.submit(at_most_once=True)
    assert once in world.jobs.memory.by_id, "the core has it"
    world.kill()
    worker.connect()
    worker.succeed(first)
    world.sleep(5)
    worker.succeed(once)
    assert world.state(once) == "done"


def test_one_whose_worker_was_just_chosen_when_the_broker_was_killed_runs() -> None:
    world = World()
    worker = reserved(world)
    world.is_lazy = False
    world.kill()
    worker.connect()
    world.sleep(5)
    worker.succeed("once")
    assert (world.state("once"), len(world.begun)) == ("done", 1)


def test_one_that_may_have_begun_when_the_broker_was_killed_does_not_run_again() -> None:
    """The moment between its commit and its sending cannot be told from the one after it."""
    world = World()
    worker = reserved(world)
    assert world.journal.work()
    world.is_lazy = False
    world.kill()
    worker.connect()
    world.sleep(5)
    view = world.view("once")
    assert (view.state, view.code, view.losses) == ("dead", "worker_lost", 1)
    assert not world.begun


def test_followers_hear_of_it_when_it_begins() -> None:
    world = World()
    world.worker()
    world.send(job_id="once", at_most_once=True, receipts=True)
    assert world.asker.sent[1:] == [JobAssigned("once", 1, "w1")]


def test_one_whose_worker_is_lost_before_it_began_goes_to_another() -> None:
    world = World()
    worker = reserved(world)
    other = world.worker("w2")
    worker.kill()
    world.is_lazy = False
    world.turn()
    assert world.begun == [("once", 1, "w2")]
    other.succeed("once")
    view = world.view("once")
    assert (view.state, view.worker_id, view.losses) == ("done", "w2", 0)


def test_a_reservation_that_waits_again_begins_when_there_is_a_slot() -> None:
    world = World()
    world.worker("w2", concurrency=1)
    live = world.submit(target="w2")
    worker = reserved(world)
    worker.kill()
    world.is_lazy = False
    world.turn()
    assert [job_id for job_id, _, _ in world.begun] == [live]
    world.workers["w2"].succeed(live)
    assert world.begun[1:] == [("once", 1, "w2")]
    world.workers["w2"].succeed("once")
    assert world.state("once") == "done"


def test_one_is_cancelled_before_it_began() -> None:
    world = World()
    worker = reserved(world)
    world.jobs.lives.cancel(world.jobs.memory.by_id["once"], world.now)
    world.jobs.stir()
    world.turn()
    world.settle()
    view = world.view("once")
    assert (view.state, view.attempt) == ("cancelled", 0)
    assert not world.begun
    assert not worker.cancelled
    assert worker.link is not None
    assert not worker.link.in_flight_count


def test_one_that_has_not_begun_keeps_its_unique_key_although_a_slot_was_reserved() -> None:
    world = World()
    worker = world.worker("w1", concurrency=1)
    world.settle()
    world.is_lazy = True
    terms = Unique("k", until="started")
    world.send(job_id="once", at_most_once=True, unique=terms)
    while not (worker.link and worker.link.in_flight_count):
        assert world.journal.work()
        assert world.journal.answer()
        world.turn()
    worker.kill()
    world.settle()
    assert world.state("once") == "accepted"
    world.is_lazy = False
    world.asker.sent.clear()
    assert world.submit(unique=terms) == "once"


def test_what_cannot_be_carried_is_dead_without_having_begun() -> None:
    world = World()
    reserved(world)
    world.refuses_data = NotRepresentable("data: no")
    world.settle()
    assert world.view("once").code == "not_representable"
    assert not world.begun


def test_while_nothing_can_be_written_it_keeps_no_slot_from_others() -> None:
    world = World()
    worker = reserved(world)
    world.send(job_id="waiting", at_most_once=True)
    world.journal.is_full = True
    world.settle()
    assert worker.link is not None
    assert not worker.link.in_flight_count
    world.is_lazy = False
    world.journal.queries.clear()
    for _ in range(30):
        world.sleep(0.1)
        assert not worker.link.in_flight_count
    assert world.journal.queries.count("NextInLane") <= 4, "once a second"
    assert not world.begun
    world.journal.is_full = False
    world.sleep(5)
    assert world.begun == [("once", 1, "w1")]
    worker.succeed("once")
    assert world.state("once") == "done"


def test_one_that_gets_its_turn_while_nothing_can_be_written_gives_the_slot_back() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    blocker, once = world.submit(), world.submit(at_most_once=True)
    world.journal.is_full = True
    world.send()
    assert world.asker.take_code() == "journal_failed"
    worker.succeed(blocker)
    assert worker.link is not None
    assert not worker.link.in_flight_count
    world.journal.is_full = False
    world.sleep(3)
    worker.succeed(once)
    assert world.state(once) == "done"


@pytest.mark.parametrize("is_once", [False, True])
def test_one_that_is_cancelled_in_the_turn_in_which_it_gets_a_slot_is_taken_back(is_once: bool) -> None:
    """The one before it is cancelled as well, and so frees the slot."""
    world = World()
    worker = world.worker(concurrency=1)
    blocker, first = world.submit(), world.submit(at_most_once=True)
    second = world.submit(at_most_once=is_once)
    world.is_lazy = True
    worker.succeed(blocker)
    by_id = world.jobs.memory.by_id
    assert by_id[first].place == STARTING
    for job_id in (first, second):
        world.jobs.lives.cancel(by_id[job_id], world.now)
    world.jobs.stir()
    world.settle()
    assert [world.state(job_id) for job_id in (first, second)] == ["cancelled"] * 2
    assert worker.link is not None
    if is_once:
        assert world.begun == [(blocker, 1, "w1")]
        assert not worker.link.in_flight_count
    else:
        assert world.begun == [(blocker, 1, "w1"), (second, 1, "w1")]
        assert worker.cancelled == [worker.msg_id_of(second)]


def test_the_slot_of_one_that_is_cancelled_before_it_began_goes_to_the_next() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    blocker, first, second = world.submit(), world.submit(at_most_once=True), world.submit()
    world.is_lazy = True
    worker.succeed(blocker)
    world.jobs.lives.cancel(world.jobs.memory.by_id[first], world.now)
    world.jobs.stir()
    world.settle()
    assert [call.request_id for call in worker.running.values()] == [second]
    world.is_lazy = False
    worker.succeed(second)
    assert world.state(second) == "done"
