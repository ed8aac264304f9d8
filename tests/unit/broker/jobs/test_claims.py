"""Which claims of a worker that connects are believed."""

import pytest
from taskferry.broker.core.adopted import Adopted
from taskferry.broker.core.offer import Offer
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
