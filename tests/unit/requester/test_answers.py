"""What a broker sends and what a requester reads have the same fields, with the same defaults."""

import msgspec
from taskferry.protocol import job_messages
from taskferry.requester import answers

from tests.each_case import each_case

PAIRS = (
    (job_messages.FailedAttempt, answers.FailedAttempt),
    (job_messages.JobAnswer, answers.JobAnswer),
    (job_messages.Jobs, answers.Jobs),
    (job_messages.JobView, answers.JobView),
    (job_messages.ScheduleView, answers.ScheduleView),
    (job_messages.Schedules, answers.Schedules),
)


@each_case(("sent", "read"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_fields_are_those_of_the_wire(sent: type[msgspec.Struct], read: type[msgspec.Struct]) -> None:
    assert set(sent.__struct_fields__) == set(read.__struct_fields__)
    assert sent.__struct_config__.tag == read.__struct_config__.tag


def test_what_is_left_out_means_the_same() -> None:
    job = job_messages.JobView("j", "echo", "done", "ann", 1.0, 5)
    schedule = job_messages.ScheduleView("s", "echo", "ann", [])
    for sent, kind in ((job, answers.JobView), (schedule, answers.ScheduleView)):
        read = msgspec.json.decode(msgspec.json.encode(sent), type=kind)
        for name in sent.__struct_fields__:
            expected = getattr(sent, name)
            if name == "progress":
                expected = None
            assert getattr(read, name) == (tuple(expected) if isinstance(expected, list) else expected), name


def test_a_newer_broker_is_understood() -> None:
    text = (
        b'{"type":"job","request_id":"r","job":{"job_id":"j","command":"echo","state":"asleep","owner":"ann",'
    )
    text += b'"submitted_at":1,"priority":5,"new":1},"more":[]}'
    answer = msgspec.json.decode(text, type=answers.Unusual)
    assert isinstance(answer, answers.JobAnswer)
    assert answer.job.state == "asleep"
    assert not answer.job.has_ended
