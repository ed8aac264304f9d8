"""Cancel, retry and remove: one job, or all that match."""

import pytest
from taskferry.broker.jobs import changes
from taskferry.broker.jobs.settings import JobSettings
from taskferry.protocol.job_messages import Filter, Remove, Retry
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, World


def test_one_job_by_its_states() -> None:
    world = World()
    worker = world.worker()
    running, done = world.submit(), world.submit()
    worker.succeed(done)
    assert world.change(Retry, job_id=running) == "wrong_state"
    assert world.change(Remove, job_id=running) == "wrong_state"
    assert world.change(Cancel, job_id=running, dry_run=True) == 1
    assert world.state(running) == "assigned"
    assert world.change(Cancel, job_id=running) == 1
    assert worker.cancelled
    assert world.state(running) == "cancelled"
    worker.fail(running, "cancelled")
    assert world.change(Cancel, job_id=running) == "wrong_state"
    assert world.change(Retry, job_id=running) == 1
    assert world.state(running) == "assigned"
    worker.succeed(running)
    assert world.change(Retry, job_id=running) == "wrong_state"
    assert world.change(Remove, job_id=running) == 1
    assert world.change(Remove, job_id=running) == "unknown_job"
    assert world.change(Cancel, FakeAsker("eve"), job_id=done) == "unknown_job"


def test_a_job_that_is_retried_by_hand_has_fresh_budgets() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(attempts=1)
    worker.fail(job_id)
    assert world.change(Retry, job_id=job_id) == 1
    worker.fail(job_id)
    assert world.state(job_id) == "dead"
    assert [row.attempt for row in world.view(job_id).failed] == [1, 2]


def test_many_jobs_a_page_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "ROWS_PER_READ_MAX", 3)
    world = World()
    for number in range(8):
        world.submit("echo" if number % 2 else "send")
    own = Filter(command="echo")
    assert world.change(Cancel, filter=own, dry_run=True) == 4
    assert world.change(Cancel, filter=own) == 4
    assert world.change(Cancel, filter=own) == 0
    assert world.change(Retry, filter=Filter(states=["dead"])) == 0
    assert world.change(Retry, filter=Filter(states=["done"])) == 0, "no such job can be retried"
    assert world.change(Cancel, FakeAsker("eve"), filter=Filter()) == 0
    assert world.change(Retry, filter=Filter(states=["cancelled", "done"])) == 4
    assert world.jobs.counts.accepted_count == 8
    world.change(Cancel, filter=Filter())
    assert world.change(Remove, filter=Filter()) == 8
    assert not world.jobs.lanes
    assert not world.disk.jobs


def test_one_of_job_id_and_filter_is_needed() -> None:
    world = World()
    assert world.change(Cancel) == "bad_request"
    assert world.change(Cancel, job_id="x", filter=Filter()) == "bad_request"


def cancelled(world: World, count: int, owner: str = "anna") -> list[str]:
    """Jobs that were cancelled, each with 10 bytes of data."""
    job_ids = [world.submit(data="x" * 8, asker=FakeAsker(owner)) for _ in range(count)]
    for job_id in job_ids:
        assert world.change(Cancel, job_id=job_id) == 1
    return job_ids


BOUNDS = {
    "open_count_max": (2, "2 jobs are open (open_count_max)"),
    "open_size_bytes_max": (29, "open jobs have 29 bytes of data (open_size_bytes_max)"),
    "account_open_count_max": (2, "anna has 2 open jobs (account_open_count_max)"),
}


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("bound", BOUNDS)
def test_a_retry_passes_the_bounds_of_a_submission(bound: str, is_dry: bool) -> None:
    value, text = BOUNDS[bound]
    world = World()
    job_ids = cancelled(world, 3)
    world.jobs.reconfigure(JobSettings(**{bound: value}))
    for job_id in job_ids[:2]:
        assert world.change(Retry, job_id=job_id) == 1
    refused = FakeAsker()
    world.jobs.retry(refused, Retry("c", job_ids[2], dry_run=is_dry), world.now)
    world.settle()
    _, failure = refused.take()
    assert (failure.code, failure.text, failure.delivery) == ("overloaded", text, "not_delivered")
    world.send(data="x" * 8)
    assert world.asker.take()[1] == failure, "as for a submission"
    assert world.state(job_ids[2]) == "cancelled"


@pytest.mark.parametrize("is_dry", [False, True])
def test_data_of_open_jobs_may_be_as_much_as_the_bound_says(is_dry: bool) -> None:
    world = World()
    cancelled(world, 3)
    world.jobs.reconfigure(JobSettings(open_size_bytes_max=30))
    assert world.change(Retry, filter=Filter(), dry_run=is_dry) == 3
    world.send()
    if is_dry:
        assert world.asker.take().state == "accepted"
    else:
        assert world.asker.take_code() == "overloaded"


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_retry_of_many_ends_at_the_bounds_and_a_dry_run_says_so(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ROWS_PER_READ_MAX", 2)
    world = World()
    cancelled(world, 4)
    world.jobs.reconfigure(JobSettings(**{bound: BOUNDS[bound][0]}))
    assert world.change(Retry, filter=Filter(), dry_run=True) == 2
    assert world.jobs.counts.open_count == 0
    assert world.change(Retry, filter=Filter()) == 2
    assert world.change(Retry, filter=Filter(), dry_run=True) == 0
    assert world.change(Retry, filter=Filter()) == 0


def test_one_identity_without_room_leaves_that_of_others() -> None:
    world = World()
    cancelled(world, 2, "bert")
    cancelled(world, 3, "anna")
    world.jobs.reconfigure(JobSettings(account_open_count_max=2))
    assert world.change(Retry, filter=Filter(), dry_run=True) == 4
    assert world.change(Retry, filter=Filter()) == 4
    assert world.jobs.lives.owners == {"anna": 2, "bert": 2}


def test_a_dry_run_of_one_says_what_would_become_of_it() -> None:
    world = World()
    (job_id,) = cancelled(world, 1)
    assert world.change(Retry, job_id=job_id, dry_run=True) == 1
    assert world.change(Remove, job_id=job_id, dry_run=True) == 1
    assert world.change(Cancel, job_id=job_id, dry_run=True) == "wrong_state"
    assert world.state(job_id) == "cancelled"


def test_changes_at_the_same_time_as_ends() -> None:
    world = World(is_lazy=True)
    worker = world.worker()
    world.settle()
    for name in ("one", "two"):
        world.send(job_id=name)
    world.settle()
    world.asker.sent.clear()
    world.jobs.remove(world.asker, Remove("c", "one"), world.now)
    world.jobs.remove(world.asker, Remove("c", filter=Filter()), world.now)
    world.turn()
    worker.succeed("one")
    for _ in range(2):
        world.journal.work()
        world.journal.answer()
    world.turn()
    world.journal.is_full = True
    world.settle()
    world.journal.is_full = False
    world.jobs.cancel(world.asker, Cancel("c", "three"), world.now)
    world.send(job_id="three")
    world.sleep(2)
    world.settle()
    left = {kept.new.job_id for kept in world.disk.jobs.values()}
    assert "one" not in left or world.state("one") == "done"


def test_a_removal_while_the_journal_fails() -> None:
    world = World(is_lazy=True)
    worker = world.worker()
    world.settle()
    world.send(job_id="one")
    world.settle()
    world.asker.sent.clear()
    world.journal.is_full = True
    worker.succeed("one")
    world.settle()
    world.jobs.remove(world.asker, Remove("c", "one"), world.now)
    world.settle()
    assert world.asker.take_code() == "journal_failed"


def test_a_journal_that_cannot_be_read_fails_many_as_well() -> None:
    world = World()
    world.submit()
    world.journal.is_broken = True
    assert world.change(Cancel, filter=Filter()) == "journal_failed"
    assert world.change(Cancel, filter=Filter(), dry_run=True) == "journal_failed"
