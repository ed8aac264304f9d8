"""A submission as a span: its name, its outcome, and that the job carries its context."""

from collections.abc import Iterator
from typing import Any

import pytest
from taskferry.protocol.job_messages import Receipt
from taskferry.protocol.messages import Failure
from taskferry.requester import BlockingRequester, JobIdConflict, Requester

from tests.spans import Traces, attributes_of, context_of, tracing
from tests.unit.requester.fake_broker import FakeBroker, FakeBrokerThread


@pytest.fixture
def traces() -> Iterator[Traces]:
    with tracing() as traces:
        yield traces


def receipt(question: Any) -> Receipt:
    return Receipt(question.request_id, question.job_id, "accepted")


async def test_a_submission_is_a_span_whose_context_the_job_carries(
    traces: Traces, requester: Requester, broker: FakeBroker
) -> None:
    broker.answer_question = receipt
    await requester.submit("resize")
    span = traces.one_of("requester")
    assert span.name == "resize"
    assert f"-{context_of(span).span_id:016x}-" in broker.questions[0].trace
    traces.clear()
    broker.answer_question = lambda question: Failure(
        question.request_id, False, None, "other data", None, "job_id_conflict"
    )
    with pytest.raises(JobIdConflict):
        await requester.submit("resize", job_id="order-1")
    assert "job_id_conflict" in attributes_of(traces.one_of("requester")).values()
    traces.clear()
    await requester.call("echo")
    assert len(traces.spans) == 1


def test_a_blocking_submission_is_one_too(traces: Traces) -> None:
    with FakeBrokerThread() as broker, BlockingRequester(broker.url) as requester:
        broker.broker.answer_question = receipt
        requester.submit("resize")
        assert traces.one_of("requester").name == "resize"
        assert broker.broker.questions[0].trace is not None
