"""Jobs by the blocking SDK: the same names, options and errors as in the asynchronous one, from plain threads."""

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec import Raw
from taskferry.protocol.job_messages import (
    Changed,
    Greeted,
    Greeting,
    JobAnswer,
    JobEnded,
    Jobs,
    JobView,
    Receipt,
    Schedules,
    ScheduleView,
)
from taskferry.protocol.messages import Failure, Response
from taskferry.requester import (
    BlockingJob,
    BlockingRequester,
    Cancelled,
    Job,
    JobNotEnded,
    JobsOff,
    Requester,
)

from tests.processes import wait_until
from tests.unit.requester.fake_broker import FakeBrokerThread


@pytest.fixture
def broker() -> Iterator[FakeBrokerThread]:
    with FakeBrokerThread() as broker:
        yield broker


@pytest.fixture
def requester(broker: FakeBrokerThread) -> Iterator[BlockingRequester]:
    with BlockingRequester(broker.url) as requester:
        yield requester


def receipt(question: Any) -> Receipt:
    return Receipt(question.request_id, question.job_id, "accepted")


def public(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_sdks_have_the_same_methods_with_the_same_options() -> None:
    assert public(BlockingJob) == public(Job)
    assert public(BlockingRequester) == public(Requester)


def test_the_life_of_a_job(requester: BlockingRequester, broker: FakeBrokerThread) -> None:
    answers = iter(
        (
            receipt,
            lambda question: JobAnswer(question.request_id, JobView("j", "echo", "assigned", "ann", 1.0, 5)),
            lambda question: Response(question.request_id, True, Raw(b"1"), None, "w"),
            lambda question: Failure(question.request_id, False, None, "late", None, "timeout"),
            lambda question: Changed(question.request_id, 1),
            lambda question: Changed(question.request_id, 1),
            lambda question: Changed(question.request_id, 1),
        )
    )

    def answer(question: Any) -> object:
        return next(answers)(question)

    broker.broker.answer_question = answer
    job = requester.submit("echo", {"n": 1}, job_id="order-1", delay=1)
    assert (job.job_id, job.state, job.is_duplicate) == ("order-1", "accepted", False)
    assert job.refresh().state == job.state == "assigned"
    assert job.result(type=float) == 1.0
    with pytest.raises(JobNotEnded):
        job.result(timeout=1)
    for change, state in ((job.cancel, "cancelled"), (job.retry, "accepted"), (job.remove, None)):
        change()
        assert job.state == state


def test_lists_and_changes_of_many(requester: BlockingRequester, broker: FakeBrokerThread) -> None:
    view = JobView("j", "echo", "dead", "ann", 1.0, 5)
    broker.broker.answer_question = lambda question: Jobs(
        question.request_id, [view], None if question.cursor else "2"
    )
    assert [job.job_id for job in requester.jobs(states=["dead"])] == ["j", "j"]
    broker.broker.answer_question = lambda question: Changed(question.request_id, 3)
    assert requester.retry_jobs(states=["dead"], dry_run=True) == 3
    assert requester.cancel_jobs(command="echo") == requester.remove_jobs(command="echo") == 3


def test_schedules(requester: BlockingRequester, broker: FakeBrokerThread) -> None:
    view = ScheduleView("nightly", "echo", "ann", [1.0], every=60.0)
    broker.broker.answer_question = lambda question: Schedules(question.request_id, [view], "job-1")
    assert requester.add_schedule("nightly", "echo", every=60).next == (1.0,)
    assert [schedule.name for schedule in requester.schedules()] == ["nightly"]
    requester.pause_schedule("nightly")
    requester.resume_schedule("nightly")
    assert requester.run_schedule("nightly").job_id == "job-1"
    requester.remove_schedule("nightly")
    actions = [getattr(question, "action", "add") for question in broker.broker.questions]
    assert actions == ["add", "list", "pause", "resume", "run", "remove"]


def test_a_request_that_becomes_a_job(requester: BlockingRequester) -> None:
    kept = '{"type":"receipt","request_id":"ID","job_id":"ID-job","state":"accepted","duplicate":false}'
    job = requester.call("verbatim", kept, otherwise="submit", request_id="r1")
    assert isinstance(job, BlockingJob)
    assert job.job_id == "r1-job"
    assert requester.request("verbatim", kept, otherwise="submit", request_id="r2").job_id == "r2-job"


def test_a_submission_survives_a_restart_of_the_broker(
    requester: BlockingRequester, broker: FakeBrokerThread
) -> None:
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(requester.submit, "echo")
        wait_until(lambda: broker.broker.questions, "it is sent")
        broker.stop()
        broker.broker.answer_question = receipt
        broker.start()
        assert submitting.result().job_id == broker.broker.questions[0].job_id


def test_closing_ends_those_that_wait(requester: BlockingRequester, broker: FakeBrokerThread) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(requester.job("order-1").result)
        wait_until(lambda: broker.broker.questions, "it is sent")
        requester.close()
        with pytest.raises(Cancelled, match="the job goes on"):
            waiting.result()
    with pytest.raises(RuntimeError, match="closed"):
        requester.job("order-1").refresh()


def test_an_inbox_from_plain_threads(broker: FakeBrokerThread) -> None:
    def greet(question: Any) -> Greeted | None:
        if not isinstance(question, Greeting):
            return None
        for number in (1, 2):
            broker.broker.sessions[-1].send(JobEnded(f"job-{number}", "done", number))
        return Greeted(question.request_id, question.client_id, 2)

    broker.broker.answer_question = greet
    with BlockingRequester(broker.url, client_id="billing-1") as requester:
        inbox = requester.inbox()
        first, second = next(inbox), next(inbox)
        assert (first.job_id, second.job_id) == ("job-1", "job-2")
        second.acknowledge()
        wait_until(lambda: len(broker.broker.questions) == 2, "it is acknowledged")
        assert broker.broker.questions[1].number == 2
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(next, inbox)
            requester.close()
            with pytest.raises(Cancelled):
                reading.result()


def test_an_inbox_that_there_is_none_of(broker: FakeBrokerThread) -> None:
    broker.broker.answer_question = lambda question: Failure(
        question.request_id, False, None, "no jobs", None, "jobs_off"
    )
    with BlockingRequester(broker.url, client_id="billing-1") as requester, pytest.raises(JobsOff):
        next(requester.inbox())
    with BlockingRequester(broker.url) as requester, pytest.raises(RuntimeError, match="needs a client_id"):
        next(requester.inbox())
    with pytest.raises(ValueError, match="client_id: expected text"):
        BlockingRequester(broker.url, client_id="")
