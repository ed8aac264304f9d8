"""What the clock and the bounds do to jobs on disk."""

from tests.unit.broker.jobs.world import World


def left(world: World) -> set[str]:
    """The jobs on disk."""
    return {kept.new.job_id for kept in world.disk.jobs.values()}


def test_ended_jobs_are_kept_for_their_time() -> None:
    world = World()
    worker = world.worker()
    done, dead, brief = world.submit(), world.submit(attempts=1), world.submit(keep=5.0)
    for job_id in (done, brief):
        worker.succeed(job_id)
    worker.fail(dead)
    world.sleep(7)
    assert left(world) == {done, dead}
    world.checks_core = False
    world.now += 86_400
    world.sleep(1)
    assert left(world) == {dead}
    world.now += 6 * 86_400
    world.sleep(1)
    assert not left(world)
    assert not world.jobs.counts.kept_size_bytes


def test_the_oldest_go_first_if_too_much_is_kept() -> None:
    world = World(kept_size_bytes_max=1000)
    worker = world.worker()
    for _ in range(10):
        worker.succeed(world.submit(data="x" * 190))
        world.sleep(0.1)
    world.sleep(3)
    assert [kept.new.seq for kept in world.disk.jobs.values()] == [6, 7, 8, 9, 10]
    assert world.jobs.counts.kept_size_bytes <= 1000


def test_a_job_expires_unless_an_attempt_runs() -> None:
    world = World()
    at = world.now + 5
    waiting = world.submit("send", expires_at=at)
    worker = world.worker(concurrency=1)
    running = world.submit(expires_at=at)
    queued = world.submit(expires_at=at)
    world.sleep(7)
    assert world.view(waiting).code == "expired"
    assert world.view(queued).code == "expired"
    assert world.state(running) == "assigned"
    worker.fail(running)
    assert world.view(running).code == "expired"
    assert not worker.running


def test_expiry_survives_a_restart_and_a_journal_that_cannot_be_read() -> None:
    world = World()
    job_id = world.submit(expires_at=world.now + 5)
    world.kill()
    world.journal.is_broken = True
    world.sleep(6)
    world.journal.is_broken = False
    world.sleep(3)
    assert world.view(job_id).code == "expired"


def test_a_removal_and_an_expiry_that_were_overtaken() -> None:
    world = World(is_lazy=True, keep_done_s=0.0)
    worker = world.worker(concurrency=1)
    world.settle()
    world.send(job_id="one")
    world.send(job_id="two", expires_at=world.now + 1)
    world.settle()
    worker.succeed("one")
    world.settle()
    world.sleep(1.5)
    worker.fail("two", "bad_request")
    world.settle()
    world.sleep(3)
    world.settle()
    assert {kept.new.job_id for kept in world.disk.jobs.values()} == {"two"}
