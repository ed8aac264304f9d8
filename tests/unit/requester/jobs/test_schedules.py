"""Schedules by the asynchronous SDK: what is sent, and what comes back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from taskferry.protocol.job_messages import Schedules, ScheduleView
from taskferry.protocol.messages import Failure
from taskferry.requester import BadRequest, Requester, UnknownJob

from tests.unit.requester.fake_broker import FakeBroker

VIEW = ScheduleView("nightly", "report", "ann", [1.0, 2.0], cron="0 2 * * *", time_zone="Europe/Berlin")


async def test_a_schedule_is_added(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Schedules(question.request_id, [VIEW])
    view = await requester.add_schedule(
        "nightly",
        "report",
        {"n": 1},
        cron="0 2 * * *",
        time_zone="Europe/Berlin",
        overlap="queue",
        attempts=2,
    )
    assert (view.name, view.next, view.cron, view.is_paused) == ("nightly", (1.0, 2.0), "0 2 * * *", False)
    await requester.add_schedule("often", "report", every=timedelta(minutes=1), catch_up=False)
    await requester.add_schedule("once", "report", at=datetime(2026, 12, 1, tzinfo=UTC))
    first, second, third = broker.questions
    assert (first.name, first.command, bytes(first.data), first.overlap, first.attempts) == (
        "nightly",
        "report",
        b'{"n":1}',
        "queue",
        2,
    )
    assert (second.every, second.catch_up, third.at) == (60, False, 1796083200)


async def test_what_does_not_say_when_is_not_sent(requester: Requester, broker: FakeBroker) -> None:
    options: tuple[dict[str, Any], ...] = ({}, {"cron": "* * * * *", "every": 60}, {"every": 0.5})
    for option in options:
        with pytest.raises(BadRequest):
            await requester.add_schedule("nightly", "report", **option)
    with pytest.raises(TypeError, match="unexpected keyword argument 'delay'"):
        await requester.add_schedule("nightly", "report", every=60, delay=1)  # type: ignore[call-arg]
    assert broker.questions == []


async def test_a_schedule_is_changed(requester: Requester, broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Schedules(question.request_id, [VIEW], "job-1")
    assert [view.name for view in await requester.schedules()] == ["nightly"]
    assert len(await requester.schedules("nightly")) == 1
    await requester.pause_schedule("nightly")
    await requester.resume_schedule("nightly")
    assert (await requester.run_schedule("nightly")).job_id == "job-1"
    await requester.remove_schedule("nightly")
    assert [(question.action, question.name) for question in broker.questions] == [
        ("list", None),
        ("list", "nightly"),
        ("pause", "nightly"),
        ("resume", "nightly"),
        ("run", "nightly"),
        ("remove", "nightly"),
    ]
    broker.answer_question = lambda question: Failure(
        question.request_id, False, None, "No such schedule", None, "unknown_job"
    )
    with pytest.raises(UnknownJob, match="No such schedule"):
        await requester.pause_schedule("nightly")
