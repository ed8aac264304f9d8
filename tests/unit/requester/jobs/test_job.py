"""Jobs by the asynchronous SDK: what is sent, what comes back, and what a broken link does to it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from taskferry.protocol.job_messages import (
    Await,
    Changed,
    FailedAttempt,
    Job,
    JobAnswer,
    Jobs,
    JobView,
    ListJobs,
    Receipt,
    Remove,
    Retry,
    Submit,
)
from taskferry.protocol.messages import Cancel, Failure, Response
from taskferry.requester import (
    BadRequest,
    CannotConnect,
    ConnectionLost,
    HandlerError,
    JobIdConflict,
    JobNotEnded,
    NotRepresentable,
    Requester,
    TooLarge,
    UnknownJob,
    WorkerTimeout,
    WrongState,
)

from tests.unit.requester.fake_broker import FakeBroker
from tests.unit.requester.waiting import until


def receipt(submit: Submit, **fields: Any) -> Receipt:
    return Receipt(submit.request_id, fields.pop("job_id", submit.job_id), "accepted", **fields)


def failure(question: Any, code: str, **fields: Any) -> Failure:
    return Failure(question.request_id, False, None, fields.pop("error", code), None, code, **fields)


def answers(*given: Callable[[Any], object]) -> Callable[[Any], object]:
    """Answers in turn; None once there are no more."""
    left = list(given)
    return lambda question: left.pop(0)(question) if left else None


async def test_a_submission_is_answered_by_a_job(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = receipt
    job = await requester.submit("resize", {"width": 100})
    (submit,) = broker.questions
    assert (submit.command, bytes(submit.data)) == ("resize", b'{"width":100}')
    assert (job.job_id, job.state, job.is_duplicate) == (submit.job_id, "accepted", False)
    assert submit.request_id != submit.job_id


async def test_options_are_sent_as_the_wire_has_them(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = receipt
    at = datetime(2026, 12, 1, 8, tzinfo=UTC)
    first = await requester.submit("echo", job_id="order-1", run_at=at, expires_at=at + timedelta(hours=1))
    await requester.submit(
        "echo",
        delay=timedelta(minutes=2),
        priority=9,
        attempts=3,
        backoff=(1, timedelta(seconds=2)),
        timeout=timedelta(hours=2),
        target={"zone": ("a", "b")},
        unique={"key": "k", "seconds": timedelta(minutes=1), "conflict": "replace"},
        key="customer-1",
        key_limit=2,
        after=[first, "other"],
        keep=timedelta(days=1),
        at_most_once=True,
        affinity="a",
        trace="t",
    )
    first_sent, sent = broker.questions
    assert (first_sent.job_id, first_sent.run_at, first_sent.expires_at) == (
        "order-1",
        at.timestamp(),
        at.timestamp() + 3600,
    )
    assert first_sent.data is msgspec.UNSET
    assert (sent.delay, sent.priority, sent.attempts) == (120, 9, 3)
    assert (sent.backoff, sent.timeout, sent.target) == ([1, 2], 7200, {"zone": ["a", "b"]})
    assert (sent.unique.key, sent.unique.seconds, sent.unique.conflict) == ("k", 60, "replace")
    assert (sent.key, sent.key_limit, sent.after, sent.keep) == ("customer-1", 2, ["order-1", "other"], 86400)
    assert (sent.at_most_once, sent.affinity, sent.trace) == (True, "a", "t")


async def test_an_option_that_breaks_a_bound_is_named_and_nothing_is_sent(
    requester: Requester, broker: FakeBroker
) -> None:
    cases: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
        "attempts": ({"attempts": 0}, BadRequest, "attempts: Expected `int` >= 1"),
        "a naive time": ({"run_at": datetime(2026, 1, 1)}, BadRequest, "run_at: .* has no time zone"),
        "two times": ({"run_at": 1, "delay": 1}, BadRequest, "delay, run_at: give one"),
        "not a number": ({"delay": float("nan")}, BadRequest, "delay: not a number"),
        "a long job_id": ({"job_id": "x" * 129}, BadRequest, "job_id: Expected `str` of length <= 128"),
        "a negative wait": ({"backoff": [1, -1]}, BadRequest, r"backoff\[1\]: Expected `float` >= 0"),
        "unique": ({"unique": {"key": "k", "until": "never"}}, BadRequest, "unique.until: Invalid enum"),
        "a typing error": ({"dely": 1}, TypeError, "unexpected keyword argument 'dely'"),
        "not an option": ({"request_id": "r"}, TypeError, "unexpected keyword argument 'request_id'"),
        "no time to answer": ({"answer_timeout": 0}, BadRequest, "timeout: 0 is not"),
        "data": ({"data": object()}, BadRequest, "data: cannot be written as JSON"),
        "much data": ({"data": "x" * 2**20}, TooLarge, "data: 1048578 bytes, at most"),
    }
    for options, error, text in cases.values():
        with pytest.raises(error, match=text):
            await requester.submit("echo", **options)
    with pytest.raises(BadRequest, match="command: Expected `str` of length >= 1"):
        await requester.submit("")
    assert broker.questions == []


async def test_a_refusal_is_raised(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = lambda question: failure(question, "job_id_conflict", delivery="not_delivered")
    with pytest.raises(JobIdConflict):
        await requester.submit("echo", job_id="order-1")


async def test_a_duplicate_is_told(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = answers(
        lambda submit: receipt(submit, duplicate=True),
        lambda submit: receipt(submit, job_id="first", duplicate=True),
    )
    assert (await requester.submit("echo", job_id="order-1")).is_duplicate
    other = await requester.submit("echo", unique="k")
    assert (other.job_id, other.is_duplicate) == ("first", True)


async def test_a_submission_whose_link_breaks_is_sent_again_as_the_same_job(
    requester: Requester, broker: FakeBroker
) -> None:
    submitting = asyncio.create_task(requester.submit("echo", {"n": 1}, delay=5))
    await until(lambda: broker.questions)
    broker.answer_question = lambda submit: receipt(submit, duplicate=True)
    broker.drop_connections()
    job = await submitting
    first, second = broker.questions
    assert first.job_id == second.job_id == job.job_id
    assert bytes(first.data) == bytes(second.data)
    assert not job.is_duplicate  # of itself


async def test_a_submission_waits_for_a_broker_that_is_restarted(
    requester: Requester, broker: FakeBroker
) -> None:
    submitting = asyncio.create_task(requester.submit("echo"))
    await until(lambda: broker.questions)
    await broker.stop()
    broker.answer_question = receipt
    await broker.start()
    assert (await submitting).job_id == broker.questions[0].job_id


async def test_a_submission_without_an_answer_says_how_to_be_sure(
    requester: Requester, broker: FakeBroker
) -> None:
    with pytest.raises(WorkerTimeout, match="order-1 may have been accepted; submitted again") as caught:
        await requester.submit("echo", job_id="order-1", answer_timeout=0.05)
    assert caught.value.delivery == "may_have_run"
    await broker.stop()
    with pytest.raises(CannotConnect):
        await requester.submit("echo", answer_timeout=0.05)


async def test_the_result_of_a_job(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Response(question.request_id, True, Raw(b'{"a":1}'), None, "w")
    job = requester.job("order-1")
    assert await job.result() == {"a": 1}
    assert job.state == "done"
    assert await job.result(timeout=5, type=dict[str, float]) == {"a": 1.0}
    with pytest.raises(NotRepresentable):
        await job.result(type=list[int])
    assert [(type(question), question.job_id, question.timeout) for question in broker.questions] == [
        (Await, "order-1", None),
        (Await, "order-1", 5),
        (Await, "order-1", None),
    ]


async def test_the_failure_of_a_job_is_raised(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = answers(
        lambda question: failure(question, "own_code", error="no such file"),
        lambda question: Failure(question.request_id, False, None, "late", "worker-1", "timeout"),
        lambda question: failure(question, "timeout"),
        lambda question: failure(question, "unknown_job"),
    )
    job = requester.job("order-1")
    with pytest.raises(HandlerError, match="no such file") as caught:
        await job.result()
    assert caught.value.code == "own_code"
    with pytest.raises(WorkerTimeout) as late:
        await job.result(timeout=60)
    assert not isinstance(late.value, JobNotEnded)
    with pytest.raises(JobNotEnded, match="order-1 has not ended within 60 s: it goes on"):
        await job.result(timeout=60)
    with pytest.raises(UnknownJob):
        await job.result()


async def test_a_result_that_does_not_come_in_time(requester: Requester, broker: FakeBroker) -> None:
    with pytest.raises(JobNotEnded):
        await requester.job("order-1").result(timeout=timedelta(milliseconds=20))


async def test_a_result_that_is_there_can_be_had_without_waiting(
    requester: Requester, broker: FakeBroker
) -> None:
    broker.answer_question = lambda question: Response(question.request_id, True, Raw(b"1"), None, "w")
    assert await requester.job("order-1").result(timeout=0) == 1
    assert broker.questions[0].timeout == 0


async def test_a_result_is_asked_for_again_over_a_new_link(requester: Requester, broker: FakeBroker) -> None:
    waiting = asyncio.create_task(requester.job("order-1").result())
    await until(lambda: broker.questions)
    broker.answer_question = lambda question: Response(question.request_id, True, Raw(b"1"), None, "w")
    broker.drop_connections()
    assert await waiting == 1
    assert len(broker.questions) == 2


async def test_who_stops_waiting_for_a_result_says_so(requester: Requester, broker: FakeBroker) -> None:
    waiting = asyncio.create_task(requester.job("order-1").result())
    await until(lambda: broker.questions)
    waiting.cancel()
    await until(lambda: broker.cancelled)
    assert broker.cancelled == [broker.questions[0].request_id]


async def test_who_stops_waiting_for_a_receipt_takes_nothing_back(
    requester: Requester, broker: FakeBroker
) -> None:
    submitting = asyncio.create_task(requester.submit("echo"))
    await until(lambda: broker.questions)
    submitting.cancel()
    assert await requester.call("echo", 1) == 1
    assert broker.cancelled == []


async def test_awaited_jobs_keep_no_request_waiting(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=1) as requester:
        waiting = [asyncio.create_task(requester.job(f"job-{n}").result()) for n in range(3)]
        await until(lambda: len(broker.questions) == 3)
        assert await requester.call("echo", 1) == 1
        for task in waiting:
            task.cancel()


async def test_the_view_of_a_job(requester: Requester, broker: FakeBroker) -> None:
    view = JobView(
        "order-1",
        "echo",
        "dead",
        "ann",
        1.0,
        5,
        progress=Raw(b'{"done":3}'),
        after=["a"],
        failed=[FailedAttempt(1, "w", 1.0, 2.0, "handler_error", "no")],
    )
    broker.answer_question = lambda question: JobAnswer(question.request_id, view)
    job = requester.job("order-1")
    seen = await job.refresh()
    assert seen is job.view
    assert (seen.state, seen.progress, seen.after, job.state, seen.has_ended) == (
        "dead",
        {"done": 3},
        ("a",),
        "dead",
        True,
    )
    assert seen.failed[0].error == "no"
    assert isinstance(broker.questions[0], Job)


async def test_changes_of_one_job(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Changed(question.request_id, 1)
    job = requester.job("order-1")
    for change, state in ((job.cancel, "cancelled"), (job.retry, "accepted"), (job.remove, None)):
        await change()
        assert job.state == state
    assert [type(question) for question in broker.questions] == [Cancel, Retry, Remove]
    assert {question.job_id for question in broker.questions} == {"order-1"}
    broker.answer_question = lambda question: failure(question, "wrong_state")
    with pytest.raises(WrongState):
        await job.cancel()


async def test_a_change_is_not_made_twice(requester: Requester, broker: FakeBroker) -> None:
    retrying = asyncio.create_task(requester.job("order-1").retry())
    await until(lambda: broker.questions)
    broker.drop_connections()
    with pytest.raises(ConnectionLost, match="perhaps it was done"):
        await retrying
    assert len(broker.questions) == 1


async def test_a_list_is_asked_for_page_by_page(requester: Requester, broker: FakeBroker) -> None:
    def page(question: ListJobs) -> Jobs:
        start = int(question.cursor or 0)
        views = [JobView(f"job-{n}", "echo", "dead", "ann", 1.0, 5) for n in range(start, start + 2)]
        return Jobs(question.request_id, views, None if start == 4 else str(start + 2))

    broker.answer_question = page
    jobs = [
        job
        async for job in requester.jobs(
            states=["dead"], command="echo", since=datetime.now(UTC), page_count=2
        )
    ]
    assert [job.job_id for job in jobs] == [f"job-{n}" for n in range(6)]
    assert all(job.state == "dead" and job.view is not None for job in jobs)
    assert [question.cursor for question in broker.questions] == [None, "2", "4"]
    assert {question.count for question in broker.questions} == {2}
    assert broker.questions[0].filter.states == ["dead"]
    assert isinstance(broker.questions[0].filter.since, float)


async def test_changes_of_many_jobs(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Changed(question.request_id, 7, question.dry_run)
    assert await requester.retry_jobs(states=["dead"], dry_run=True) == 7
    assert await requester.cancel_jobs(command="echo") == 7
    assert await requester.remove_jobs(job_ids=["a", "b"]) == 7
    assert [(type(question), question.dry_run) for question in broker.questions] == [
        (Retry, True),
        (Cancel, False),
        (Remove, False),
    ]
    assert broker.questions[2].filter.job_ids == ["a", "b"]
    with pytest.raises(BadRequest, match="cancel_jobs: say which jobs"):
        await requester.cancel_jobs()
    with pytest.raises(BadRequest, match="states"):
        await requester.cancel_jobs(states=["delayed"])
    assert len(broker.questions) == 3


async def test_a_request_that_becomes_a_job(requester: Requester, broker: FakeBroker) -> None:
    kept = '{"type":"receipt","request_id":"ID","job_id":"ID-job","state":"accepted","duplicate":false}'
    job = await requester.call("verbatim", kept, otherwise="submit", type=int, request_id="r1")
    assert (job.job_id, job.state) == ("r1-job", "accepted")
    response = await requester.request("verbatim", kept, otherwise="submit", request_id="r2")
    assert (response.job_id, response.success, response.code) == ("r2-job", False, None)
    assert {request.otherwise for request in broker.requests} == {"submit"}
    assert await requester.call("echo", 1, otherwise="submit") == 1


async def test_ids_made_here_sort_by_time() -> None:
    from taskferry.requester.jobs.submission import new_job_id

    ids = [new_job_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [job_id[:11] for job_id in ids] == sorted(job_id[:11] for job_id in ids)


async def test_without_a_broker_every_question_ends(broker: FakeBroker) -> None:
    await broker.stop()
    async with Requester(broker.url) as requester:
        job = requester.job("order-1")
        for asked in (job.refresh, job.cancel, job.retry, job.remove, job.result):
            with pytest.raises(CannotConnect):
                await asked(timeout=0.02)
