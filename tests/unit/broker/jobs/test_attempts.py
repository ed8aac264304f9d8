"""How attempts end, and what follows."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable
from taskferry.protocol.job_messages import JobAssigned, JobEnded, Receipt
from taskferry.protocol.messages import Cancel, Defaults
from taskferry.protocol.stream_messages import Chunk, Progress

from tests.each_case import each_case
from tests.unit.broker.jobs.world import FakeAsker, World


def test_a_failure_waits_longer_each_time_until_the_job_is_dead() -> None:
    world = World(chance=1.0)
    worker = world.worker()
    job_id = world.submit(attempts=3)
    waits = []
    for _ in range(2):
        worker.fail(job_id)
        view = world.view(job_id)
        assert view.state == "accepted"
        assert view.run_at is not None
        waits.append(view.run_at - world.now)
        assert not worker.running
        world.sleep(waits[-1] + 0.1)
    assert waits == pytest.approx([1.25, 20.0]), "n^4, and a quarter by chance"
    worker.fail(job_id, "out_of_stock", "none left")
    view = world.view(job_id)
    assert (view.state, view.code, view.error) == ("dead", "out_of_stock", "none left")
    assert [(row.attempt, row.code) for row in view.failed] == [
        (1, "handler_error"),
        (2, "handler_error"),
        (3, "out_of_stock"),
    ]
    assert world.observed.dead == [(job_id, "out_of_stock")]
    assert world.begun == [(job_id, 1, "w1"), (job_id, 2, "w1"), (job_id, 3, "w1")]


@each_case(
    ("backoff", "declared", "waits"),
    [
        (5.0, None, [5, 5, 5]),
        ([1.0, 7.0], None, [1, 7, 7]),
        (None, 2.0, [2, 2, 2]),
        (0.0, 2.0, [0, 0, 0]),
        (None, None, [1, 16, 81]),
    ],
)
def test_the_submitters_backoff_comes_first_then_the_workers(
    backoff: Any, declared: float | None, waits: list[float]
) -> None:
    world = World()
    worker = world.worker(defaults={"echo": Defaults(backoff=declared)})
    job_id = world.submit(backoff=backoff)
    for wait in waits:
        worker.fail(job_id)
        assert world.view(job_id).run_at == pytest.approx(world.now + wait, abs=0.01)
        world.sleep(wait + 0.1)


def test_a_worker_declares_attempts_and_timeout() -> None:
    world = World()
    worker = world.worker(defaults={"echo": Defaults(attempts=1, timeout=7.0)})
    job_id = world.submit()
    call = next(iter(worker.running.values()))
    assert call.attempt is not None
    assert (call.attempt.timeout_s, call.attempt.is_last) == (7.0, True)
    worker.fail(job_id)
    assert world.state(job_id) == "dead"


@each_case("code", ["bad_request", "too_large", "not_representable"])
def test_what_the_requester_did_wrong_is_not_tried_again(code: str) -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.fail(job_id, code)
    assert world.view(job_id).code == code
    assert world.state(job_id) == "dead"


def test_a_handler_says_when_to_try_again_or_never() -> None:
    world = World()
    worker = world.worker()
    later, never, usual = world.submit(), world.submit(), world.submit()
    worker.fail(later, retry=30.0)
    worker.fail(never, retry=False)
    worker.fail(usual, retry=True)
    assert world.view(later).run_at == pytest.approx(world.now + 30)
    assert world.state(never) == "dead"
    assert world.view(usual).run_at == pytest.approx(world.now + 1)


def test_a_worker_that_does_not_know_the_command_or_stops_costs_nothing() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(attempts=1)
    worker.fail(job_id, "unknown_command")
    world.sleep(1.1)
    worker.fail(job_id, "worker_stopping")
    worker.succeed(job_id)
    view = world.view(job_id)
    assert (view.state, view.attempt, view.failed) == ("done", 3, [])


def test_an_attempt_has_its_time_and_a_late_answer_changes_nothing() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(timeout=5.0)
    msg_id = worker.msg_id_of(job_id)
    world.sleep(5.1)
    assert worker.cancelled == [msg_id]
    assert world.view(job_id).code == "timeout"
    assert not worker.settled, "it keeps its slot until it answers"
    worker.succeed(job_id, "too late")
    assert worker.settled == [msg_id]
    assert world.state(job_id) == "accepted"


def test_three_lost_workers_are_enough() -> None:
    world = World()
    job_id = world.submit()
    for number in range(3):
        worker = world.worker(f"w{number}")
        assert worker.running
        worker.kill()
        assert world.view(job_id).reason == f"for w{number}, whose connection was lost, to come back"
        world.sleep(4.1)
    view = world.view(job_id)
    assert (view.state, view.code, view.losses, view.attempt) == ("dead", "worker_lost", 3, 3)
    assert world.jobs.counts.lost_count == 3


def test_a_crash_is_a_loss_and_runs_again_at_once_but_not_for_ever() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(attempts=10)
    for losses in (1, 2, 3):
        msg_id = worker.msg_id_of(job_id)
        worker.fail(job_id, "worker_lost", "The process for the handler was killed")
        assert msg_id in worker.settled
        assert world.view(job_id).losses == losses
    view = world.view(job_id)
    assert (view.state, view.code, view.error) == (
        "dead",
        "worker_lost",
        "The process for the handler was killed",
    )
    assert [(failure.code, failure.error) for failure in view.failed] == [(view.code, view.error)] * 3


def test_a_crash_ends_a_job_that_may_run_once() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(at_most_once=True, attempts=5)
    worker.fail(job_id, "worker_lost", "The process for the handler ended with exit code 7")
    assert (world.state(job_id), world.view(job_id).code) == ("dead", "worker_lost")


def test_losing_a_worker_that_was_leaving_costs_nothing() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.leave()
    worker.kill()
    world.sleep(4.1)
    assert world.view(job_id).losses == 0
    assert world.state(job_id) == "accepted"


def test_a_job_that_may_run_once_is_written_before_it_runs_and_never_runs_again() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(at_most_once=True, attempts=5)
    assert world.disk.jobs[1].change.attempt == 1
    call = next(iter(worker.running.values()))
    assert call.attempt is not None
    assert call.attempt.is_last
    worker.kill()
    world.sleep(5)
    assert world.view(job_id).code == "worker_lost"
    failing = world.submit(at_most_once=True)
    worker = world.worker("w2")
    worker.fail(failing)
    assert world.state(failing) == "dead"
    given_back = world.submit(at_most_once=True)
    worker.fail(given_back, "worker_stopping")
    assert world.state(given_back) == "dead", "it may have run"


def test_a_job_that_may_run_once_and_was_not_delivered_waits_again() -> None:
    world = World()
    blocker = world.worker(concurrency=1)
    world.submit()
    job_id = world.submit(at_most_once=True)
    assert world.view(job_id).reason == "for a free slot"
    blocker.lose_link()
    view = world.view(job_id)
    assert (view.state, view.attempt) == ("accepted", 0)


def test_cancelling_a_job_that_may_run_once_while_it_is_written() -> None:
    world = World(is_lazy=True)
    world.worker()
    world.settle()
    world.send(at_most_once=True)
    world.journal.work()
    world.journal.answer()
    world.turn()
    world.jobs.cancel(world.asker, Cancel("c", "job-1"), world.now)
    world.turn()
    world.journal.work()
    world.journal.work()
    world.journal.answer()
    world.settle()
    assert world.state("job-1") == "cancelled"


def test_data_that_no_worker_can_carry_ends_the_job() -> None:
    world = World()
    world.refuses_data = NotRepresentable("data: too big a number")
    world.worker()
    plain, once = world.submit(), world.submit(at_most_once=True)
    for job_id in (plain, once):
        assert (world.state(job_id), world.view(job_id).code) == ("dead", "not_representable")


def test_a_message_that_never_left_costs_nothing() -> None:
    world = World()
    worker = world.worker()
    worker.is_unwritten = True
    job_id = world.submit()
    worker.lose_link()
    view = world.view(job_id)
    assert (view.state, view.losses) == ("accepted", 0)


def test_receipts_follow_a_job_as_long_as_the_connection_lasts() -> None:
    world = World()
    worker = world.worker()
    world.send(receipts=True, job_id="one")
    assert world.asker.sent == [Receipt("r", "one", "accepted"), JobAssigned("one", 1, "w1")]
    world.asker.sent.clear()
    worker.fail("one", "bad_request", "no")
    assert world.asker.take() == JobEnded("one", "dead", None, "bad_request", "no")
    world.send(receipts=True, job_id="two")
    world.asker.sent.clear()
    world.leave(world.asker)
    worker.succeed("two")
    assert not world.asker.sent


def test_progress_is_shown_in_the_encoding_of_who_asks() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    worker.progress(job_id, {"progress": 0.5})
    as_json = world.view(job_id).progress
    assert bytes(as_json) == b'{"progress":0.5}'  # type: ignore[arg-type]
    as_msgpack = world.view(job_id, FakeAsker(sees_all=True, encoding=Encoding.MSGPACK)).progress
    assert bytes(as_msgpack) == b"\x81\xa8progress\xcb?\xe0\x00\x00\x00\x00\x00\x00"  # type: ignore[arg-type]
    worker.progress(job_id, float("nan"))
    assert not isinstance(world.view(job_id).progress, float)


def test_followers_get_progress_and_chunks_from_when_they_follow() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit()
    assert worker.running[worker.msg_id_of(job_id)].stream
    for sequence in (1, 2):
        assert worker.chunk(job_id, sequence, sequence) is None
    late = FakeAsker()
    world.view(job_id, late, receipts=True)
    late.sent.clear()
    worker.progress(job_id, 0.5)
    assert worker.chunk(job_id, 3, "three") is None
    progress, three = (Raw(msgspec.msgpack.encode(data)) for data in (0.5, "three"))
    assert late.sent == [
        Progress(job_id=job_id, attempt=1, sequence=2, data=progress),
        Chunk(job_id=job_id, attempt=1, sequence=3, data=three),
    ]
    assert [sequence for _, sequence in worker.credits] == [1, 2, 3]
    world.leave(late)
    assert worker.chunk(job_id, 4, "four") is None
    assert len(late.sent) == 2
    assert not world.asker.sent


def test_chunks_of_a_failed_attempt_are_followed_by_those_of_the_next() -> None:
    world = World()
    worker = world.worker()
    world.send(receipts=True, job_id="one")
    worker.chunk("one", 1, "a")
    worker.fail("one", retry=0.0)
    worker.chunk("one", 1, "b")
    chunks = [message for message in world.asker.sent if isinstance(message, Chunk)]
    assert [(chunk.attempt, chunk.sequence) for chunk in chunks] == [(1, 1), (2, 1)]


def test_counts() -> None:
    world = World()
    worker = world.worker()
    done, dead = world.submit(), world.submit(attempts=1)
    worker.succeed(done)
    worker.fail(dead)
    counts = world.jobs.counts
    assert (counts.submitted_count, counts.attempts) == (2, {"success": 1, "handler_error": 1})
    assert {(state.name, label): n for (state, label), n in counts.ended.items()} == {
        ("DONE", "success"): 1,
        ("DEAD", "handler_error"): 1,
    }
