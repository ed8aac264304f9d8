"""Inboxes: what ends while its submitter is away, or here."""

from typing import Any

import pytest
from msgspec import Raw
from taskferry.broker.jobs import inbox as inbox_module
from taskferry.protocol.job_messages import Ack, Greeted, Greeting, JobEnded, Remove, Retry, Submit, Unique
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, FakeWorker, World


def connect(world: World, client_id: str = "c", owner: str = "anna") -> tuple[FakeAsker, Greeted]:
    """A connection that says `hello`; what it is sent besides the answer stays in `sent`."""
    asker = FakeAsker(owner)
    world.jobs.greet(asker, Greeting(client_id, "h"), world.now)
    world.settle()
    answer = asker.sent.pop(0)
    assert isinstance(answer, Greeted), answer
    return asker, answer


def acknowledge(world: World, asker: FakeAsker, number: int) -> None:
    world.jobs.acknowledge(asker, Ack(number), world.now)
    world.settle()


def run(world: World, worker: FakeWorker, asker: FakeAsker, count: int = 1) -> list[str]:
    """Submit jobs on this connection, and make them end."""
    others = asker.sent[:]
    asker.sent.clear()
    job_ids = [world.submit(asker=asker) for _ in range(count)]
    asker.sent += others
    for job_id in job_ids:
        worker.succeed(job_id)
    return job_ids


def numbers(asker: FakeAsker) -> list[int]:
    """The numbers of the messages that it was sent since it was last looked at."""
    sent: list[Any] = asker.sent[:]
    asker.sent.clear()
    assert all(isinstance(message, JobEnded) for message in sent), sent
    return [message.number for message in sent]


def test_what_ends_while_a_client_is_away_comes_when_it_is_back() -> None:
    world = World()
    worker = world.worker()
    asker, answer = connect(world)
    assert answer == Greeted("h", "c", 0, 0)
    first, second = world.submit(asker=asker), world.submit(asker=asker)
    world.leave(asker)
    worker.succeed(second)
    worker.fail(first, retry=False, text="broken")
    again, answer = connect(world)
    assert answer == Greeted("h", "c", 2, 0)
    assert again.sent == [
        JobEnded(second, "done", 1),
        JobEnded(first, "dead", 2, "handler_error", "broken"),
    ]
    acknowledge(world, again, 1)
    once_more, answer = connect(world)
    assert answer.waiting == 1
    assert numbers(once_more) == [2]


def test_what_ends_while_it_is_here_comes_at_once_and_after_the_commit() -> None:
    world = World()
    worker = world.worker()
    asker, _ = connect(world)
    job_id = world.submit(asker=asker)
    world.is_lazy = True
    worker.succeed(job_id)
    assert asker.sent == []
    world.settle()
    assert asker.sent == [JobEnded(job_id, "done", 1)]
    assert "ReadInbox" not in world.journal.queries


def test_jobs_that_were_submitted_before_the_greeting_are_not_in_it() -> None:
    world = World()
    worker = world.worker()
    asker = FakeAsker()
    job_id = world.submit(asker=asker)
    world.jobs.greet(asker, Greeting("c", "h"), world.now)
    worker.succeed(job_id)
    assert asker.take() == Greeted("h", "c", 0, 0)


def test_an_inbox_belongs_to_an_identity() -> None:
    world = World()
    worker = world.worker()
    mine, _ = connect(world)
    theirs, _ = connect(world, owner="bert")
    run(world, worker, mine)
    assert numbers(mine) == [1]
    assert numbers(theirs) == []


def test_each_connection_of_a_client_gets_every_message() -> None:
    world = World()
    worker = world.worker()
    one, _ = connect(world)
    two, _ = connect(world)
    run(world, worker, one, 2)
    assert numbers(one) == [1, 2]
    assert numbers(two) == [1, 2]
    acknowledge(world, one, 2)
    run(world, worker, two)
    assert numbers(one) == [3]
    assert numbers(two) == [3]


def test_a_slow_connection_holds_nobody_and_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "IN_FLIGHT_COUNT_MAX", 3)
    world = World()
    worker = world.worker()
    fast, _ = connect(world)
    slow, _ = connect(world)
    for number in range(1, 11):
        run(world, worker, fast)
        assert numbers(fast) == [number]
        acknowledge(world, fast, number)
    assert numbers(slow) == [1, 2, 3], "it has not acknowledged, so it is sent no more"
    assert not world.disk.inbox, "and keeps nothing on disk"
    run(world, worker, fast)
    acknowledge(world, slow, 1)
    assert slow.sent == [JobEnded("job-11", "done", 11, dropped=7)]
    run(world, worker, fast)
    assert len(slow.sent) == 1, "no room"
    acknowledge(world, slow, 11)
    assert [message.number for message in slow.sent] == [11, 12]


def test_a_connection_catches_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "IN_FLIGHT_COUNT_MAX", 3)
    world = World()
    worker = world.worker()
    first, _ = connect(world)
    run(world, worker, first, 8)
    world.leave(first)
    asker, answer = connect(world)
    assert answer.waiting == 8
    got = []
    while asker.sent:
        got += (some := numbers(asker))
        acknowledge(world, asker, some[-1])
    assert got == [1, 2, 3, 4, 5, 6, 7, 8]
    assert world.jobs.counts.inbox_count == 0


def test_what_ends_while_it_catches_up_comes_in_order() -> None:
    world = World()
    worker = world.worker()
    first, _ = connect(world)
    run(world, worker, first, 2)
    first.sent.clear()
    third = world.submit(asker=first)
    world.leave(first)
    world.is_lazy = True
    asker = FakeAsker()
    world.jobs.greet(asker, Greeting("c"), world.now)
    world.turn()
    worker.succeed(third)
    world.settle()
    assert isinstance(asker.sent.pop(0), Greeted)
    assert numbers(asker) == [1, 2, 3]


def test_a_full_inbox_drops_the_oldest_and_says_so() -> None:
    world = World(inbox_count_max=3)
    worker = world.worker()
    first, _ = connect(world)
    jobs = [world.submit(asker=first) for _ in range(5)]
    world.leave(first)
    for job_id in jobs[:3]:
        worker.succeed(job_id)
    assert world.jobs.counts.inbox_dropped_count == 0
    for job_id in jobs[3:]:
        worker.succeed(job_id)
    assert sorted(key[2] for key in world.disk.inbox) == [3, 4, 5]
    assert world.jobs.counts.inbox_count == 3
    assert world.jobs.counts.inbox_dropped_count == 2
    asker, answer = connect(world)
    assert (answer.waiting, answer.dropped) == (3, 2)
    assert numbers(asker) == [3, 4, 5]
    world.leave(asker)
    world.kill()
    asker, answer = connect(world)
    assert (asker.sent[0].number, asker.sent[0].dropped) == (3, 2)
    assert numbers(asker) == [3, 4, 5]


def test_a_bound_that_was_lowered_holds_from_the_next_message() -> None:
    world = World()
    worker = world.worker()
    first, _ = connect(world)
    run(world, worker, first, 5)
    world.jobs.reconfigure(type(world.settings)(inbox_count_max=2))
    run(world, worker, first)
    assert sorted(key[2] for key in world.disk.inbox) == [5, 6]


def test_an_inbox_survives_a_restart() -> None:
    world = World()
    worker = world.worker()
    first, _ = connect(world)
    run(world, worker, first, 3)
    acknowledge(world, first, 1)
    world.kill()
    worker.connect()
    assert world.jobs.counts.inbox_count == 2
    asker, answer = connect(world)
    assert answer == Greeted("h", "c", 2, 0)
    assert numbers(asker) == [2, 3]
    acknowledge(world, asker, 3)
    world.kill()
    worker.connect()
    asker, answer = connect(world)
    assert answer == Greeted("h", "c", 0, 0)
    world.sleep(5)
    run(world, worker, asker)
    assert numbers(asker) == [4], "no number is given twice"


def test_a_job_that_was_removed_or_tried_again_has_no_message() -> None:
    world = World()
    worker = world.worker()
    asker, _ = connect(world)
    jobs = [world.submit(asker=asker) for _ in range(4)]
    world.leave(asker)
    for job_id in jobs:
        worker.fail(job_id, retry=False)
    assert world.change(Remove, job_id=jobs[0]) == 1
    assert world.change(Retry, job_id=jobs[1]) == 1
    asker, answer = connect(world)
    assert answer.waiting == 4, "at most"
    assert [(m.job_id, m.number, m.dropped) for m in asker.sent] == [(jobs[2], 3, 0), (jobs[3], 4, 0)]
    asker.sent.clear()
    worker.succeed(jobs[1])
    assert numbers(asker) == [5]


def test_cancelling_is_an_end() -> None:
    world = World()
    asker, _ = connect(world)
    job_id = world.submit(asker=asker)
    world.change(Cancel, job_id=job_id)
    assert asker.sent == [JobEnded(job_id, "cancelled", 1, "cancelled", "Request cancelled")]


def test_ack_without_hello_is_refused() -> None:
    world = World()
    asker = FakeAsker()
    acknowledge(world, asker, 1)
    assert asker.take_code() == "bad_request"


def test_what_was_not_sent_cannot_be_acknowledged() -> None:
    world = World()
    worker = world.worker()
    asker, _ = connect(world)
    run(world, worker, asker, 2)
    acknowledge(world, asker, 1_000_000)
    run(world, worker, asker)
    assert numbers(asker) == [1, 2, 3]
    acknowledge(world, asker, 2)
    _, answer = connect(world)
    assert answer.waiting == 1


def test_a_second_greeting_replaces_the_first() -> None:
    world = World()
    worker = world.worker()
    asker, _ = connect(world)
    world.jobs.greet(asker, Greeting("other", "h"), world.now)
    assert asker.take() == Greeted("h", "other", 0, 0)
    run(world, worker, asker)
    assert numbers(asker) == [1]
    assert {key[:2] for key in world.disk.inbox} == {("anna", "other")}


def test_a_client_that_leaves_while_it_is_being_read_for_gets_nothing() -> None:
    world = World()
    worker = world.worker()
    first, _ = connect(world)
    run(world, worker, first)
    world.is_lazy = True
    asker = FakeAsker()
    world.jobs.greet(asker, Greeting("c"), world.now)
    world.turn()
    world.leave(asker)
    world.settle()
    assert len(asker.sent) == 1


def test_a_read_that_fails_is_made_up_for_by_the_next() -> None:
    world = World()
    worker = world.worker()
    first, _ = connect(world)
    run(world, worker, first)
    world.journal.broken_reads = {"ReadInbox"}
    asker, _ = connect(world)
    assert asker.sent == []
    world.journal.broken_reads = set()
    run(world, worker, first)
    assert numbers(asker) == [1, 2]


def test_a_new_inbox_takes_the_place_of_the_one_that_was_used_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox_module, "INBOXES_COUNT_MAX", 4)
    world = World()
    worker = world.worker()
    for owner, client_id in (("anna", "a"), ("bert", "b"), ("carl", "c"), ("dora", "d")):
        asker, _ = connect(world, client_id, owner)
        run(world, worker, asker, 2)
        world.leave(asker)
    asker, _ = connect(world, "a", "anna")
    world.leave(asker)
    asker, answer = connect(world, "e", "emil")
    assert answer.waiting == 0
    run(world, worker, asker)
    assert set(world.disk.inboxes) == {("anna", "a"), ("carl", "c"), ("dora", "d"), ("emil", "e")}
    assert numbers(asker) == [3], "after those of the one that is gone"
    assert world.jobs.counts.inbox_dropped_count == 2
    world.kill()
    _, answer = connect(world, "e", "emil")
    assert (answer.waiting, answer.dropped) == (1, 0)


def test_one_identity_has_half_of_the_inboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "INBOXES_COUNT_MAX", 4)
    world = World()
    connect(world, "a", "anna")
    connect(world, "b", "bert")
    second, _ = connect(world, "b2", "bert")
    world.leave(second)
    third, _ = connect(world, "b3", "bert")
    asker = FakeAsker("bert")
    world.jobs.greet(asker, Greeting("b4", "h"), world.now)
    assert asker.take_code() == "overloaded", "both of his are connected"
    world.leave(third)
    connect(world, "b4", "bert")
    connect(world, "c", "carl")
    asker = FakeAsker("dora")
    world.jobs.greet(asker, Greeting("d", "h"), world.now)
    assert asker.take_code() == "overloaded"


def test_an_end_for_which_there_is_no_inbox_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "INBOXES_COUNT_MAX", 2)
    world = World()
    worker = world.worker()
    first, _ = connect(world, "a")
    job_id = world.submit(asker=first)
    world.leave(first)
    connect(world, "b")
    worker.succeed(job_id)
    assert world.jobs.counts.inbox_dropped_count == 1
    assert world.state(job_id) == "done"


def test_a_submission_that_ends_at_once_and_cannot_be_written_has_no_message() -> None:
    world = World()
    worker = world.worker()
    asker, _ = connect(world)
    world.journal.is_full = True
    for _ in range(2):
        message = Submit(command="echo", unique=Unique("k", conflict="replace"))
        world.jobs.submit(asker, message, Raw(b"1"), world.now)
    world.turn()
    assert [failure.code for _, failure in asker.sent] == ["journal_failed"] * 2
    asker.sent.clear()
    world.journal.is_full = False
    world.sleep(2)
    run(world, worker, asker)
    assert [(message.number, message.dropped) for message in asker.sent] == [(2, 1)]
