"""Which claims of a worker that connects are believed."""

import pytest
from taskferry.broker.core.adopted import Adopted
from taskferry.broker.core.offer import Offer
from taskferry.broker.jobs.states import JobState
from taskferry.protocol.messages import Claim

from tests.unit.broker.jobs.world import FakeWorker, World

ZONE_A = {"zone": "a"}


def adopted(world: World, worker_id: str, *claims: Claim, labels: dict[str, str] | None = None) -> list[str]:
    """The msg_ids of the claims that are believed of a worker of this name, which then does not join after all."""
    found: list[list[Adopted]] = []
    offer = Offer(("echo",), labels=labels)
    assert world.jobs.claim(worker_id, offer, claims, found.append, world.now) is None
    world.turn()
    return [one.msg_id for one in found[0]]


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("target", ["w1", ZONE_A])
def test_an_attempt_goes_on_at_a_worker_that_its_target_allows(
    target: str | dict[str, str], is_recorded: bool
) -> None:
    world = World()
    worker = world.worker("w1", labels=ZONE_A)
    job_id = world.submit(target=target)
    if is_recorded:
        world.sleep(0.1)
    world.kill()
    claim = Claim(worker.msg_id_of(job_id), job_id, 1)
    assert adopted(world, "w2", claim, labels={"zone": "b"}) == []
    assert adopted(world, "w3", claim) == []
    assert world.state(job_id) == ("assigned" if is_recorded else "accepted")
    worker.connect()
    assert worker.running
    worker.succeed(job_id)
    assert world.state(job_id) == "done"


def test_an_attempt_goes_on_at_a_worker_with_another_name_if_its_target_allows_it() -> None:
    """A worker without a name gets a new one with each connection."""
    world = World()
    worker = world.worker("w1", labels=ZONE_A)
    job_id = world.submit(target=ZONE_A)
    worker.lose_link()
    again = world.workers["again"] = FakeWorker(world, "again", ("echo",), 1)
    again.labels, again.running = ZONE_A, worker.running
    again.connect()
    again.succeed(job_id)
    assert world.view(job_id).worker_id == "again"


def test_an_attempt_that_the_journal_knows_as_its_workers_goes_on_whatever_its_labels_are_now() -> None:
    world = World()
    worker = world.worker("w1", labels=ZONE_A)
    job_id = world.submit(target=ZONE_A)
    world.sleep(0.1)
    world.kill()
    worker.labels = {}
    worker.connect()
    assert worker.running
    worker.succeed(job_id)
    assert world.state(job_id) == "done"


def fresh(world: World) -> tuple[FakeWorker, str]:
    """A worker, and a job that it runs since just now: the journal has it as accepted."""
    worker = world.worker("w1")
    job_id = world.submit()
    assert world.disk.jobs[1].change.state == JobState.ACCEPTED
    return worker, job_id


def test_an_assignment_that_is_not_recorded_is_not_given_to_another_worker_before_its_own_may_be_back() -> (
    None
):
    world = World()
    worker, job_id = fresh(world)
    world.kill()
    other = world.worker("w2")
    world.sleep(3.9)
    assert not other.running, "though nothing else was assigned"
    worker.connect()
    assert worker.running
    worker.succeed(job_id)
    assert world.begun == [(job_id, 1, "w1")]
    assert world.state(job_id) == "done"


def test_a_claim_of_it_that_comes_too_late_is_not_believed() -> None:
    world = World()
    worker, job_id = fresh(world)
    world.kill()
    other = world.worker("w2")
    world.sleep(4.1)
    assert world.begun == [(job_id, 1, "w1"), (job_id, 1, "w2")], "the number counts what is in the journal"
    worker.connect()
    assert not worker.running
    assert len(worker.settled) == 1
    other.succeed(job_id)
    assert world.state(job_id) == "done"


def test_a_claim_of_it_that_comes_too_late_is_believed_if_nobody_else_has_it() -> None:
    world = World()
    worker, job_id = fresh(world)
    world.kill()
    world.sleep(60)
    worker.connect()
    assert worker.running
    worker.succeed(job_id)
    assert (world.begun, world.state(job_id)) == ([(job_id, 1, "w1")], "done")


def test_a_claim_of_it_goes_before_the_window_in_which_it_waits() -> None:
    """It has been given to the core again, and waits there for a slot."""
    world = World()
    worker, job_id = fresh(world)
    world.kill()
    other = world.worker("w2", concurrency=1)
    live = world.submit("send")
    world.worker("w3", "send")
    world.submit(priority=9)
    world.sleep(4.1)
    assert world.begun[1:] != [(job_id, 1, "w2")]
    assert job_id in world.jobs.memory.by_id
    worker.connect()
    worker.succeed(job_id)
    assert world.state(job_id) == "done"
    assert [begun for begun in world.begun if begun[0] == job_id] == [(job_id, 1, "w1")]
    assert live
    assert other.running


@pytest.mark.parametrize("ending", ["in order", "before claims were over", "killed"])
def test_only_after_an_orderly_stop_nothing_waits_for_claims(ending: str) -> None:
    world = World()
    job_id = world.submit()
    if ending == "before claims were over":
        world.kill()
        world.sleep(1)
    if ending == "killed":
        world.kill()
    else:
        world.stop()
    worker = world.worker()
    assert bool(worker.running) is (ending == "in order")
    world.sleep(4.1)
    worker.succeed(job_id)
    world.stop()
    assert not world.jobs.counts.open_count


def test_a_stop_that_could_not_be_written_is_none() -> None:
    world = World()
    worker, job_id = fresh(world)
    world.journal.is_full = True
    world.stop()
    other = world.worker("w2")
    assert not other.running
    worker.connect()
    worker.succeed(job_id)
    assert world.begun == [(job_id, 1, "w1")]


def test_a_stop_makes_no_journal_of_its_own() -> None:
    world = World()
    world.stop()
    assert not world.disk.closed_at
    world.sleep(5)
    job_id = world.submit()
    world.worker().succeed(job_id)
    world.stop()
    assert world.disk.closed_at


def test_a_stop_before_the_journal_was_read_says_nothing() -> None:
    world = World()
    world.submit()
    world.is_lazy = True
    world.kill()
    world.jobs.close(world.now)
    world.settle()
    world.is_lazy = False
    world.kill()
    assert not world.worker().running
