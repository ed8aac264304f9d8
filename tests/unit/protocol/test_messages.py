"""Every bound of every field is read from messages.py itself and tested on both sides, in both encodings."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Struct, inspect
from taskferry.protocol import (
    field_types,
    gather_messages,
    job_messages,
    messages,
    stream_messages,
    topic_messages,
)
from taskferry.protocol.codec import CODECS, describe
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.messages import text_or_none

from tests.each_case import each_case

Edge = tuple[str, Any, Any]
"""A bound in words, the last good value, and the first bad one."""

PATTERNS = {field_types.NAME_PATTERN: ("x-1", "-x1"), field_types.HEDGE_PATTERN: ("p95", "p100")}
"""A text that fits and one that does not."""

SMALLEST: dict[type[Struct], dict[str, Any]] = {
    messages.Request: {"command": "c"},
    messages.Auth: {"type": "auth", "token": "t"},
    messages.Cancel: {"type": "cancel", "request_id": "r"},
    messages.Ping: {"type": "ping"},
    stream_messages.Credit: {"type": "credit", "request_id": "r", "sequence": 1},
    gather_messages.Broadcast: {"type": "broadcast", "kind": "k"},
    gather_messages.Send: {"type": "custom", "kind": "k"},
    job_messages.Submit: {"type": "submit", "command": "c"},
    job_messages.Job: {"type": "job", "job_id": "j"},
    job_messages.Await: {"type": "await", "job_id": "j"},
    job_messages.Retry: {"type": "retry"},
    job_messages.Remove: {"type": "remove"},
    job_messages.ListJobs: {"type": "list"},
    job_messages.Schedule: {"type": "schedule", "name": "n", "command": "c"},
    job_messages.ScheduleAction: {"type": "schedules"},
    job_messages.Greeting: {"type": "hello"},
    job_messages.Ack: {"type": "ack", "number": 1},
    messages.WorkerConnect: {"type": "connect", "data": {"commands": ["c"]}},
    messages.WorkerAuth: {"type": "auth", "data": {"token": "t"}},
    messages.Disconnect: {"type": "disconnect"},
    messages.Heartbeat: {"type": "heartbeat"},
    messages.WorkerResponse: {"type": "response", "msg_id": "1", "data": {"success": True}},
    messages.Notification: {"type": "notification"},
    gather_messages.Custom: {"type": "custom"},
    topic_messages.Subscribe: {"type": "subscribe", "data": {"topics": ["t"]}},
    topic_messages.Unsubscribe: {"type": "unsubscribe", "data": {"topics": ["t"]}},
    topic_messages.Publish: {"type": "publish", "data": {"topic": "t"}},
    topic_messages.WorkerPublish: {"type": "publish", "data": {"topic": "t"}},
    stream_messages.WorkerChunk: {"type": "chunk", "msg_id": "1", "sequence": 1, "data": None},
}
"""Every message that a broker reads and that has bounds, with only its required fields."""

SMALLEST_PARTS: dict[type[Struct], dict[str, Any]] = {
    job_messages.Filter: {},
    job_messages.Unique: {"key": "k"},
    gather_messages.Gather: {},
    messages.Claim: {"msg_id": "1", "job_id": "j", "attempt": 1},
    messages.Defaults: {},
    messages.Places: {"commands": ["c"], "count": 1},
    topic_messages.Since: {"epoch": "e", "offset": 1},
}
"""The same for their parts that are optional, or items of a list or an object."""


def sample(kind: inspect.Type) -> Any:
    """A good value."""
    match kind:
        case inspect.StructType(cls=cls):
            return SMALLEST_PARTS[cls]
        case inspect.FloatType():
            return 1.0
        case inspect.LiteralType(values=values):
            return values[0]
        case _:
            return "x"


def lengths(
    kind: inspect.StrType | inspect.ListType | inspect.DictType, make: Callable[[int], Any]
) -> Iterator[Edge]:
    if kind.min_length:
        yield "min_length", make(kind.min_length), make(kind.min_length - 1)
    if kind.max_length is not None:
        yield "max_length", make(kind.max_length), make(kind.max_length + 1)


def numbers(kind: inspect.IntType | inspect.FloatType) -> Iterator[Edge]:
    step = 1 if isinstance(kind, inspect.IntType) else 1e-6
    if kind.ge is not None:
        yield "ge", kind.ge, kind.ge - step
    if kind.gt is not None:
        yield "gt", kind.gt + step, kind.gt
    if kind.lt is not None:
        yield "lt", kind.lt - step, float(kind.lt)
    if kind.le is not None:
        yield "le", kind.le, kind.le + step


def edges(kind: inspect.Type) -> Iterator[Edge]:
    """The bounds of a field's type, including those of its parts."""
    match kind:
        case inspect.UnionType(types=types):
            for part in types:
                yield from edges(part)
        case inspect.StrType():
            yield from lengths(kind, "x".__mul__)
            if kind.pattern is not None:
                yield "pattern", *PATTERNS[kind.pattern]
        case inspect.IntType() | inspect.FloatType():
            yield from numbers(kind)
        case inspect.ListType(item_type=item):
            yield from lengths(kind, [sample(item)].__mul__)
            yield from ((f"item {bound}", [good], [bad]) for bound, good, bad in edges(item))
        case inspect.DictType(key_type=key, value_type=value):
            some = sample(value)
            yield from lengths(kind, lambda count: {str(number): some for number in range(count)})
            yield from ((f"key {bound}", {good: some}, {bad: some}) for bound, good, bad in edges(key))
            yield from ((f"value {bound}", {"k": good}, {"k": bad}) for bound, good, bad in edges(value))
        case inspect.StructType(cls=cls, fields=fields):
            smallest = SMALLEST_PARTS[cls]
            for field in fields:
                for bound, good, bad in edges(field.type):
                    name = field.encode_name
                    yield f"{name} {bound}", {**smallest, name: good}, {**smallest, name: bad}


def bounded_fields(kind: type[Struct], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Edge]]:
    information = inspect.type_info(kind)
    assert isinstance(information, inspect.StructType)
    for field in information.fields:
        inner = (*path, field.encode_name)
        if isinstance(field.type, inspect.StructType):
            yield from bounded_fields(field.type.cls, inner)
        else:
            yield from ((inner, edge) for edge in edges(field.type))


BOUNDS = [(kind, path, edge) for kind in SMALLEST for path, edge in bounded_fields(kind)]


def decode(kind: type[Struct], message: dict[str, Any], encoding: Encoding) -> Struct:
    """The message as a broker reads it."""
    codec = CODECS[encoding]
    reader = codec.from_worker
    if kind is messages.Request:
        reader = codec.request
    elif kind in get_args(messages.RequesterControl):
        reader = codec.requester_control
    decoded: Struct = reader(codec.encode(message))
    return decoded


def with_value(message: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**message, first: with_value(message.get(first, {}), tuple(rest), value) if rest else value}


@each_case("encoding", Encoding)
@each_case(
    ("kind", "path", "edge"), BOUNDS, ids=lambda case: f"{case[0].__name__} {'.'.join(case[1])} {case[2][0]}"
)
def test_a_value_at_a_bound_is_taken_and_one_beyond_is_refused_by_name(
    kind: type[Struct], path: tuple[str, ...], edge: Edge, encoding: Encoding
) -> None:
    bound, good, bad = edge
    message = decode(kind, with_value(SMALLEST[kind], path, good), encoding)
    assert type(message) is kind
    with pytest.raises(msgspec.ValidationError) as caught:
        decode(kind, with_value(SMALLEST[kind], path, bad), encoding)
    text = describe(caught.value, encoding)
    assert ".".join(path) in text
    if not bound.startswith("key"):
        assert text.startswith(".".join(path))


def test_the_bounds_of_the_contract_are_among_those_tried() -> None:
    tried = {(kind.__name__, ".".join(path), edge[0]) for kind, path, edge in BOUNDS}
    assert {
        ("Request", "command", "max_length"),
        ("Request", "request_id", "max_length"),
        ("Request", "timeout", "gt"),
        ("Request", "timeout", "le"),
        ("Request", "priority", "ge"),
        ("Request", "affinity", "max_length"),
        ("Request", "trace", "max_length"),
        ("Request", "target", "max_length"),
        ("Request", "target", "value item max_length"),
        ("Request", "hedge", "ge"),
        ("Request", "hedge", "pattern"),
        ("Auth", "token", "max_length"),
        ("Cancel", "request_id", "min_length"),
        ("Cancel", "filter", "job_ids max_length"),
        ("Submit", "attempts", "le"),
        ("Submit", "backoff", "item le"),
        ("Submit", "timeout", "le"),
        ("Submit", "unique", "key max_length"),
        ("Submit", "after", "max_length"),
        ("ListJobs", "count", "le"),
        ("Schedule", "every", "ge"),
        ("Ack", "number", "ge"),
        ("WorkerConnect", "data.running", "item attempt ge"),
        ("WorkerConnect", "data.defaults", "value timeout gt"),
        ("WorkerConnect", "msg_id", "max_length"),
        ("WorkerConnect", "data.commands", "max_length"),
        ("WorkerConnect", "data.commands", "item pattern"),
        ("WorkerConnect", "data.concurrency", "le"),
        ("WorkerConnect", "data.weight", "ge"),
        ("WorkerConnect", "data.labels", "value max_length"),
        ("WorkerConnect", "data.canary", "pattern"),
        ("WorkerAuth", "data.token", "max_length"),
        ("WorkerResponse", "msg_id", "max_length"),
    } <= tried


@each_case("kind", SMALLEST)
@each_case("encoding", Encoding)
def test_what_a_message_must_have_is_enough_and_is_needed(kind: type[Struct], encoding: Encoding) -> None:
    smallest = SMALLEST[kind]
    assert type(decode(kind, smallest, encoding)) is kind
    for field in inspect_required(kind):
        message = {name: value for name, value in smallest.items() if name != field}
        with pytest.raises(msgspec.ValidationError) as caught:
            decode(kind, message, encoding)
        assert describe(caught.value, encoding) == f"{field}: missing"


def inspect_required(kind: type[Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind) if field.required]


def test_every_structure_of_the_wire_is_a_message_or_part_of_one() -> None:
    structures = {
        value
        for value in (*vars(messages).values(), *vars(job_messages).values())
        if isinstance(value, type) and issubclass(value, Struct) and value is not Struct
    }
    parts = {
        messages.Hello,
        messages.Reason,
        messages.Result,
        messages.Fault,
        messages.Welcome,
        messages.Call,
        messages.Credential,
        messages.Login,
        messages.Expiry,
        job_messages.Terms,
        job_messages.Filter,
        job_messages.Unique,
        job_messages.JobView,
        job_messages.FailedAttempt,
        job_messages.ScheduleView,
        messages.Claim,
        messages.Defaults,
        messages.Places,
        messages.AttemptOf,
        gather_messages.Gather,
    }
    read = {messages.Outcome, messages.AnyId, messages.ErrorMessage}
    sent = {messages.Response, messages.Failure, *get_args(messages.BrokerControl)}
    sent |= {messages.Connected, messages.AssignmentMessage, messages.CancelAssignment, messages.Settled}
    sent |= {stream_messages.WorkerCredit}
    sent |= {messages.WorkerLoggedIn, messages.WorkerExpiring}
    assert set(SMALLEST) | parts | read | sent == structures


@pytest.mark.parametrize("value", ["", "r", "x" * 128])
def test_a_text_that_can_address_an_error_is_kept(value: str) -> None:
    assert text_or_none(value) == value


@each_case("value", ["x" * 129, None, 5, b"r", ["r"], {}])
def test_what_cannot_address_an_error_is_dropped(value: object) -> None:
    assert text_or_none(value) is None


def test_two_fields_out_of_bounds_are_reported_one_at_a_time() -> None:
    for encoding, (first, second) in itertools.product(
        Encoding, [("timeout", "priority"), ("priority", "timeout")]
    ):
        with pytest.raises(msgspec.ValidationError) as caught:
            decode(messages.Request, {"command": "c", first: -1, second: -1}, encoding)
        assert describe(caught.value, encoding).startswith(f"{first}: ")
