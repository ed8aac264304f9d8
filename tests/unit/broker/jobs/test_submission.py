"""What becomes of a submission."""

from typing import Any

import pytest
from msgspec import Raw
from taskferry.broker.jobs import followers, intake, jobs
from taskferry.protocol.job_messages import Receipt, Remove, Submit

from tests.each_case import each_case
from tests.unit.broker.jobs.world import START, FakeAsker, World


def test_the_same_submission_under_one_job_id_is_one_job() -> None:
    world = World(is_lazy=True)
    world.settle()
    for _ in range(3):
        world.send("echo", {"n": 1}, job_id="mine", trace="changes")
    world.send("echo", {"n": 2}, job_id="mine")
    world.send("echo", {"n": 1}, job_id="mine", priority=9)
    world.settle()
    receipts = [sent for sent in world.asker.sent if isinstance(sent, Receipt)]
    assert [(one.job_id, one.duplicate) for one in receipts] == [
        ("mine", False),
        ("mine", True),
        ("mine", True),
    ]
    assert [sent[1].code for sent in world.asker.sent if isinstance(sent, tuple)] == ["job_id_conflict"] * 2
    assert world.jobs.counts.duplicates_count == 2
    world.asker.sent.clear()
    worker = world.worker()
    world.settle()
    worker.succeed("mine")
    world.settle()
    world.kill()
    world.send("echo", {"n": 1}, job_id="mine")
    world.settle()
    assert world.asker.take() == Receipt("r", "mine", "done", True)
    other = FakeAsker("bert")
    world.send("echo", {"n": 1}, other, job_id="mine")
    world.settle()
    assert other.take_code() == "job_id_conflict"


def test_a_name_is_free_again_once_its_job_was_removed() -> None:
    world = World(is_lazy=True)
    world.settle()
    world.send("echo", job_id="mine")
    world.settle()
    worker = world.worker()
    world.settle()
    worker.succeed("mine")
    world.settle()
    world.asker.sent.clear()
    world.jobs.remove(world.asker, Remove("c", "mine"), world.now)
    world.send("echo", "other", job_id="mine")
    world.settle()
    assert [type(sent).__name__ for sent in world.asker.sent] == ["Changed", "Receipt"]


@each_case(
    ("options", "words"),
    [
        ({"delay": 1.0, "run_at": START}, "delay, run_at"),
        ({"run_at": START + 40_000_000}, "run_at"),
        ({"run_at": -1.0}, "run_at"),
        ({"run_at": float("nan")}, "run_at"),
        ({"expires_at": START}, "expires_at"),
        ({"expires_at": float("inf")}, "expires_at"),
    ],
)
def test_wrong_times_are_refused(options: dict[str, Any], words: str) -> None:
    world = World()
    world.send(**options)
    _, failure = world.asker.take()
    assert failure.code == "bad_request"
    assert words in failure.text
    assert world.jobs.counts.refused == {"bad_request": 1}


@each_case(
    ("settings", "word"),
    [
        ({"open_count_max": 2}, "open_count_max"),
        ({"account_open_count_max": 2}, "account_open_count_max"),
        ({"open_size_bytes_max": 8}, "open_size_bytes_max"),
    ],
)
def test_open_jobs_are_bounded(settings: dict[str, Any], word: str) -> None:
    world = World(**settings)
    first = world.submit(data="x")
    world.submit(data="x")
    world.send(data="x")
    _, failure = world.asker.take()
    assert (failure.code, word in failure.text) == ("overloaded", True)
    world.worker().succeed(first)
    world.submit(data="x")


def test_submissions_that_wait_for_the_disk_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(is_lazy=True)
    world.settle()
    monkeypatch.setattr(intake, "PENDING_SIZE_BYTES_MAX", 20)
    world.send(data="x" * 17)
    world.send(data="xx")
    assert world.asker.take_code() == "overloaded"
    monkeypatch.setattr(intake, "PENDING_COUNT_MAX", 1)
    world.send(data=1)
    assert world.asker.take_code() == "overloaded"
    monkeypatch.setattr(followers, "FOLLOWED_COUNT_MAX", 0)
    world.settle()
    world.asker.sent.clear()
    world.send(receipts=True)
    assert world.asker.take_code() == "overloaded"


def test_a_thousand_names_fit_into_one_look_and_more_into_the_next() -> None:
    world = World(is_lazy=True)
    world.settle()
    for number in range(1001):
        message = Submit(command="echo", request_id="r", job_id=f"n{number}")
        world.jobs.submit(world.asker, message, Raw(b"{}"), world.now)
    world.settle()
    assert len(world.asker.sent) == 1001
    assert world.jobs.counts.submitted_count == 1001


def test_what_is_asked_before_the_journal_was_read_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(is_lazy=True)
    world.send("echo")
    assert not world.jobs.is_open
    world.settle()
    assert isinstance(world.asker.take(), Receipt)
    monkeypatch.setattr(jobs, "EARLY_COUNT_MAX", 0)
    world.kill()
    world.send("echo")
    assert world.asker.take_code() == "overloaded"
