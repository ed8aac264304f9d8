"""Jobs that wait for others to be done first."""

import pytest
from taskferry.broker.jobs import after as after_module
from taskferry.broker.jobs.states import JobState
from taskferry.protocol.job_messages import Filter, Remove, Retry
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, World


def test_a_job_waits_until_all_are_done() -> None:
    world = World()
    worker = world.worker()
    first, second = world.submit(), world.submit()
    third = world.submit(after=[first, second, first])
    assert world.state(third) == "held"
    assert world.view(third).after == [first, second]
    worker.succeed(first)
    assert world.state(third) == "held"
    worker.succeed(second)
    assert world.state(third) == "assigned"
    worker.succeed(third)
    assert world.state(third) == "done"


def test_what_is_done_already_need_not_be_waited_for() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    worker.succeed(first)
    assert world.state(world.submit(after=[first])) == "assigned"


@pytest.mark.parametrize("ending", ["dead", "cancelled", "chain"])
def test_if_one_ends_otherwise_those_that_wait_are_dead(ending: str) -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    second = world.submit(after=[first])
    third = world.submit(after=[second])
    if ending == "dead":
        worker.fail(first, retry=False)
    else:
        assert world.change(Cancel, job_id=first) == 1
    for job_id in (second, third):
        view = world.view(job_id)
        assert (view.state, view.code, view.attempt) == ("dead", "after_failed", 0)


def test_one_that_has_failed_before_fails_it_as_well() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    worker.fail(first, retry=False)
    second = world.submit(after=[first])
    assert world.view(second).code == "after_failed"


def test_an_unknown_one_is_refused() -> None:
    world = World()
    world.send("echo", after=["none"])
    _, failure = world.asker.take()
    assert (failure.code, failure.text) == ("bad_request", "after: there is no job 'none'")
    theirs = world.submit(asker=FakeAsker("bert"))
    world.send("echo", after=[theirs])
    assert world.asker.take_code() == "bad_request"
    assert world.submit(asker=FakeAsker("root", sees_all=True), after=[theirs])


@pytest.mark.parametrize("when", ["before the end", "end not judged", "end removed"])
def test_waiting_survives_a_restart(when: str) -> None:
    world = World()
    worker = world.worker()
    first = world.submit(keep=0 if when == "end removed" else None)
    second = world.submit("other", after=[first])
    world.submit(delay=600)
    if when == "before the end":
        world.kill()
        worker.connect()
        worker.succeed(first)
    else:
        world.is_lazy = True
        worker.succeed(first)
        assert world.journal.work(), "its end is on disk, and that was all"
        if when == "end removed":
            world.disk._remove([1])
        world.is_lazy = False
        world.kill()
    assert world.state(second) == "accepted"


def test_a_restart_finds_those_whose_predecessor_failed() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    second = world.submit(after=[first])
    world.is_lazy = True
    worker.fail(first, retry=False)
    world.journal.work()
    world.is_lazy = False
    world.kill()
    assert world.view(second).code == "after_failed"


def test_what_is_removed_at_once_was_done() -> None:
    world = World()
    worker = world.worker()
    first = world.submit(keep=0)
    second = world.submit(after=[first])
    worker.succeed(first)
    world.sleep(1)
    assert world.state(second) == "assigned"


def test_a_retry_judges_again() -> None:
    world = World()
    worker = world.worker()
    first, other = world.submit(), world.submit(delay=60)
    second = world.submit(after=[first, other])
    worker.fail(first, retry=False)
    assert world.view(second).code == "after_failed"
    assert world.change(Retry, job_id=second) == 1
    assert world.view(second).code == "after_failed", "the first is dead still"
    assert world.change(Retry, job_id=first) == 1
    assert world.change(Retry, job_id=second) == 1
    assert world.state(second) == "held"
    worker.succeed(first)
    assert world.state(second) == "held"
    world.sleep(61)
    worker.succeed(other)
    assert world.state(second) == "assigned"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_retry_in_bulk_judges_after_all_were_retried(is_restarted: bool) -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    second = world.submit(after=[first])
    worker.fail(first, retry=False)
    if is_restarted:
        world.kill()
        worker.connect()
    asker = FakeAsker(sees_all=True)
    world.jobs.retry(asker, Retry("c", filter=Filter(states=["dead"])), world.now)
    world.settle()
    assert asker.take().count == 2
    assert world.state(second) == "held"
    world.sleep(5)
    worker.succeed(first)
    assert world.state(second) == "assigned"


def test_a_retry_of_one_that_waited_for_nothing() -> None:
    world = World()
    first = world.submit()
    world.change(Cancel, job_id=first)
    assert world.change(Retry, job_id=first) == 1
    assert world.state(first) == "accepted"


def test_a_retry_after_its_failed_predecessor_was_removed() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    second = world.submit(after=[first])
    worker.fail(first, retry=False)
    assert world.change(Remove, job_id=first) == 1
    assert world.change(Retry, job_id=second) == 1
    assert world.view(second).code == "after_failed"


def test_more_that_wait_for_one_than_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_module, "ROWS_PER_READ_MAX", 10)
    world = World()
    worker = world.worker()
    first = world.submit()
    world.is_lazy = True
    for _ in range(25):
        world.send("other", after=[first])
    world.settle()
    world.asker.sent.clear()
    assert world.jobs.counts.held_count == 25
    worker.succeed(first)
    world.settle()
    assert world.jobs.counts.held_count == 0
    assert world.jobs.counts.accepted_count == 25


def test_more_waited_for_than_memory_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_module, "WAITED_FOR_COUNT_MAX", 2)
    world = World()
    worker = world.worker()
    firsts = [world.submit() for _ in range(3)]
    waiting = [world.submit(after=[first]) for first in firsts]
    for first, job_id in zip(firsts, waiting, strict=True):
        worker.succeed(first)
        assert world.state(job_id) == "assigned"


def test_a_read_that_fails_is_tried_again() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    world.journal.broken_reads = {"FindWaits"}
    second = world.submit(after=[first])
    world.journal.broken_reads = {"FindAfter"}
    world.sleep(2)
    worker.succeed(first)
    assert world.state(second) == "held"
    world.jobs.clock_stepped(0.5, world.now)
    world.journal.broken_reads = set()
    world.sleep(2)
    assert world.state(second) == "assigned"


def test_a_held_job_that_is_cancelled_stays_so() -> None:
    world = World()
    worker = world.worker()
    first = world.submit()
    second = world.submit(after=[first])
    world.is_lazy = True
    worker.succeed(first)
    world.jobs.cancel(world.asker, Cancel("c", job_id=second), world.now)
    world.settle()
    assert world.disk.jobs[2].change.state in {JobState.CANCELLED, JobState.ASSIGNED}
