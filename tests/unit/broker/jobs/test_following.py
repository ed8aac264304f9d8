"""What requesters ask about jobs."""

import pytest
from msgspec import Raw
from taskferry.broker.jobs import followers, following
from taskferry.broker.jobs.lanes import NEVER
from taskferry.protocol.errors import TooLarge
from taskferry.protocol.job_messages import Await, JobAssigned, JobEnded, ListJobs, Remove, Submit
from taskferry.protocol.job_messages import Job as ViewJob
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, World


def test_await_answers_now_later_or_after_its_time() -> None:
    world = World()
    worker = world.worker()
    job_id, failing = world.submit(), world.submit(attempts=1)
    early, late = FakeAsker(sees_all=True), FakeAsker()
    world.wait_for(job_id, early)
    world.wait_for(job_id, early, timeout=100)
    worker.succeed(job_id, 7)
    assert early.sent == [("a", b"\x07")] * 2
    world.wait_for(job_id, late)
    assert late.take() == ("a", b"\x07")
    world.wait_for(failing, late, timeout=1.0)
    world.sleep(1.1)
    assert late.take_code() == "timeout"
    worker.fail(failing, "out_of_stock")
    world.wait_for(failing, late)
    assert late.take_code() == "out_of_stock"
    world.sleep(100)
    assert not early.sent[2:]


def test_await_of_a_job_that_is_on_disk_only() -> None:
    world = World()
    job_id = world.submit()
    asker = FakeAsker()
    world.wait_for(job_id, asker, timeout=0.0)
    assert asker.take_code() == "timeout"
    world.wait_for(job_id, asker)
    world.worker().succeed(job_id)
    assert asker.take() == ("a", b"\xc0")
    world.wait_for("unknown", asker)
    assert asker.take_code() == "unknown_job"
    stranger = FakeAsker("eve")
    world.wait_for(job_id, stranger)
    assert stranger.take_code() == "unknown_job"


def test_await_is_bounded_and_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    asker = FakeAsker()
    monkeypatch.setattr(following, "AWAITS_COUNT_MAX", 1)
    world.wait_for(job_id, asker)
    world.wait_for(job_id, asker)
    assert asker.take_code() == "overloaded"
    world.leave(asker)
    worker.succeed(job_id)
    assert not asker.sent


def test_a_job_is_followed_from_any_moment_by_any_connections() -> None:
    world = World()
    job_id = world.submit()
    early, late = FakeAsker(), FakeAsker()
    assert world.view(job_id, early, receipts=True).state == "accepted"
    assert world.view(job_id, early, receipts=True).state == "accepted"
    worker = world.worker()
    assert early.take() == JobAssigned(job_id, 1, "w1")
    assert world.view(job_id, late, receipts=True).worker_id == "w1"
    worker.fail(job_id)
    world.sleep(2)
    assert early.take() == late.take() == JobAssigned(job_id, 2, "w1")
    world.leave(early)
    worker.succeed(job_id)
    assert late.take() == JobEnded(job_id, "done")
    assert not early.sent
    assert world.view(job_id, late, receipts=True).state == "done"
    assert world.jobs.lives.followers.count == 0


def test_nothing_is_kept_for_a_connection_that_closes_while_the_journal_looks() -> None:
    world = World(is_lazy=True)
    world.settle()
    world.send(job_id="one", receipts=True)
    world.turn()
    world.leave(world.asker)
    world.settle()
    assert world.jobs.counts.submitted_count == 1
    asker = FakeAsker()
    world.jobs.view(asker, ViewJob("one", "v", receipts=True), world.now)
    world.jobs.await_end(asker, Await("one", "a", 60.0), world.now)
    world.turn()
    world.leave(asker)
    world.settle()
    assert world.jobs.lives.followers.count == 0
    assert world.jobs.following.next_at == NEVER


def test_what_is_followed_is_bounded_and_only_for_those_who_may_see_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    one, other = world.submit(), world.submit()
    monkeypatch.setattr(followers, "FOLLOWED_COUNT_MAX", 2)
    asker, stranger = FakeAsker(), FakeAsker("eve")
    world.jobs.view(stranger, ViewJob(one, "v", receipts=True), world.now)
    world.turn()
    assert stranger.take_code() == "unknown_job"
    world.view(one, asker, receipts=True)
    world.view(one, FakeAsker(sees_all=True), receipts=True)
    world.jobs.view(asker, ViewJob(other, "v", receipts=True), world.now)
    world.turn()
    assert asker.take_code() == "overloaded"
    assert world.view(other, asker).state == "accepted"


def test_a_result_that_cannot_be_carried_is_a_failure() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    asker = FakeAsker()
    asker.refuses = TooLarge("result: 2 bytes")
    world.wait_for(job_id, asker)
    worker.succeed(job_id)
    assert asker.take_code() == "too_large"


def test_a_cancelled_job_answers_cancelled() -> None:
    world = World()
    job_id = world.submit()
    asker = FakeAsker()
    world.wait_for(job_id, asker)
    assert world.change(Cancel, job_id=job_id) == 1
    assert asker.take_code() == "cancelled"


def test_a_list_has_pages_newest_first_of_ones_own_jobs() -> None:
    world = World()
    for _ in range(5):
        world.submit()
    world.submit("send", asker=FakeAsker("bert"))
    asker, boss = FakeAsker(), FakeAsker(sees_all=True)
    page = world.page(asker, 2)
    assert [job.job_id for job in page.jobs] == ["job-5", "job-4"]
    page = world.page(asker, 3, page.cursor)
    assert [job.job_id for job in page.jobs] == ["job-3", "job-2", "job-1"]
    assert page.cursor is None
    assert len(world.page(boss).jobs) == 6
    assert [job.job_id for job in world.page(boss, command="send").jobs] == ["job-6"]
    assert not world.page(asker, owner="bert").jobs
    for cursor in ("x", "-1", "9" * 30):
        world.jobs.list(asker, ListJobs("l", None, cursor), world.now)
        world.turn()
        assert asker.take_code() == "bad_request"


def test_a_list_shows_what_is_on_disk_and_stops_at_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE_SIZE_BYTES_MAX", 1000)
    world = World()
    worker = world.worker()
    for _ in range(5):
        world.submit()
    assert {job.state for job in world.page(FakeAsker(), states=["assigned"]).jobs} == {"assigned"}
    page = world.page(FakeAsker())
    assert len(page.jobs) == 3
    assert page.cursor is not None
    assert len(world.page(FakeAsker(), cursor=page.cursor).jobs) == 2
    world.is_lazy = True
    worker.succeed("job-1")
    world.jobs.list(world.asker, ListJobs("l"), world.now)
    world.jobs.cancel(world.asker, Cancel("c", "job-2"), world.now)
    world.settle()
    assert {type(sent).__name__ for sent in world.asker.sent} == {"Jobs", "Changed"}


def test_a_list_that_fills_the_journals_answer_goes_on() -> None:
    world = World(is_lazy=True)
    world.settle()
    for _ in range(1001):  # in one turn
        world.jobs.submit(FakeAsker(), Submit(command="echo"), Raw(b"1"), world.now)
    world.settle()
    page = world.page(FakeAsker(), 1000)
    assert page.cursor is not None


def test_a_view_waits_until_what_it_shows_is_on_disk() -> None:
    world = World(is_lazy=True)
    worker = world.worker()
    world.settle()
    world.send(job_id="mine")
    world.settle()
    world.asker.sent.clear()
    world.jobs.view(world.asker, ViewJob("mine", "v"), world.now)
    world.turn()
    worker.succeed("mine")
    assert world.journal.work()
    assert world.journal.answer()
    world.turn()
    assert not world.asker.sent
    world.settle()
    assert world.asker.take().job.state == "done"


def test_a_journal_that_cannot_be_read_fails_what_is_asked() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    world.journal.is_broken = True
    asker = FakeAsker(sees_all=True)
    world.jobs.view(asker, ViewJob(job_id, "v"), world.now)
    world.turn()
    assert asker.take_code() == "journal_failed"
    world.jobs.list(asker, ListJobs("l"), world.now)
    world.turn()
    assert asker.take_code() == "journal_failed"
    world.jobs.await_end(asker, Await("other", "a"), world.now)
    world.turn()
    assert asker.take_code() == "journal_failed"
    world.send(job_id="named")
    assert world.asker.take_code() == "journal_failed"
    assert world.change(Cancel, job_id=job_id) == "journal_failed"
    world.journal.is_broken = False
    world.journal.broken_reads = {"FindAttempts"}
    world.jobs.view(asker, ViewJob(job_id, "v"), world.now)
    world.turn()
    assert asker.take_code() == "journal_failed"
    worker.succeed(job_id)
    assert world.change(Remove, job_id=job_id) == 1
