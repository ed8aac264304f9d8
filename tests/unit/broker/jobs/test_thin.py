from taskferry.protocol.job_messages import Receipt

from tests.unit.broker.jobs.world import FakeAsker, World


def test_a_job_is_submitted_run_and_awaited() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit("echo", {"n": 1})
    assert worker.running, "it runs"
    waiting = FakeAsker()
    world.wait_for(job_id, waiting)
    assert world.state(job_id) == "assigned"
    worker.succeed(job_id, [1, 2])
    assert waiting.take() == ("a", b"\x92\x01\x02")
    assert worker.settled
    assert world.state(job_id) == "done"
    assert not world.jobs.memory.by_id


def test_a_receipt_is_sent_after_the_commit() -> None:
    world = World(is_lazy=True)
    world.settle()
    world.send("echo")
    assert not world.asker.sent
    assert world.journal.work()
    world.turn()
    assert not world.asker.sent
    assert world.journal.answer()
    world.turn()
    assert world.asker.take() == Receipt("r", "job-1", "accepted")
