"""What happens between two steps of the journal, each moment set up by hand."""

from taskferry.protocol.job_messages import Retry
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, World


def test_a_lane_that_could_not_be_read_is_read_again_in_a_second() -> None:
    world = World()
    job_id = world.submit()
    world.journal.broken_reads = {"NextInLane"}
    world.worker()
    assert world.state(job_id) == "accepted"
    world.journal.broken_reads.clear()
    world.sleep(0.5)
    assert world.state(job_id) == "accepted"
    world.sleep(1)
    assert world.state(job_id) == "assigned"


def test_a_job_that_changes_again_while_its_change_cannot_be_written() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    world.sleep(1)
    world.journal.is_full = True
    worker.fail(job_id)
    asker = FakeAsker()
    world.jobs.cancel(asker, Cancel("c", job_id), world.now)
    world.turn()
    assert not asker.sent, "it is not on disk yet"
    world.journal.is_full = False
    world.sleep(2)
    assert asker.take().count == 1
    assert job_id not in world.jobs.memory.by_id, "nothing of it is left to be written"
    world.kill()
    assert world.state(job_id) == "cancelled"


def test_a_job_is_tried_again_in_the_turn_in_which_the_end_of_another_is_on_disk() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    waiting = [world.submit(after=[first]) for _ in range(2)]
    world.change(Cancel, job_id=waiting[1])
    world.is_lazy = True
    worker.succeed(first)
    world.jobs.retry(world.asker, Retry("c", waiting[1]), world.now)
    world.turn()
    while world.journal.work():
        pass
    while world.journal.answer():
        pass
    world.is_lazy = False
    world.turn()
    assert [world.state(job_id) for job_id in waiting] == ["assigned", "assigned"]


def test_an_assignment_is_known_before_it_is_written() -> None:
    world = World()
    world.worker(concurrency=1)
    first, second = world.submit(), world.submit()
    assert world.disk.jobs[1].change.state == 0, "as the journal has it, it waits"
    assert not world.jobs.still_waits(first)
    assert world.jobs.still_waits(second)
    assert world.jobs.still_waits("on disk only")


def test_a_key_that_could_not_be_read_and_is_gone_before_it_is_read_again() -> None:
    world = World()
    worker = world.worker()
    first, second = world.submit(key="k"), world.submit(key="k")
    world.journal.broken_reads = {"FindHeldByKey"}
    worker.succeed(first)
    assert world.state(second) == "held"
    world.journal.broken_reads.clear()
    worker.succeed(world.submit(key="k"))
    worker.succeed(second)
    assert not world.jobs.keys.by_name
    assert world.jobs.keys.next_at > world.now
    world.sleep(60)
    assert world.state(second) == "done"
