"""PROTOCOL.md is accurate: its examples are test vectors, its tables and numbers are those of the code."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from msgspec import UNSET, Struct, inspect
from taskferry.broker.access.addresses import FAILED_LOGINS_COUNT_MAX
from taskferry.broker.access.usage import (
    DECLARED_COMMANDS_BURST_COUNT,
    DECLARED_COMMANDS_PER_S,
    NEW_COMMANDS_BURST_COUNT,
    NEW_COMMANDS_PER_S,
)
from taskferry.broker.broker import REQUESTER_HEARTBEAT_INTERVAL_S, REQUESTER_SILENCE_S_MAX
from taskferry.broker.core.delivery import hedging
from taskferry.broker.core.fleet import pool
from taskferry.broker.core.fleet.directory import COMMANDS_KNOWN_COUNT_MAX
from taskferry.broker.core.fleet.worker import TRANSITIONS
from taskferry.broker.core.health import ejection, outliers, streak
from taskferry.broker.core.health.canary import CANARY_INTERVAL_S, CANARY_TIMEOUT_S
from taskferry.broker.core.ports import CancelReason
from taskferry.broker.core.queue import overload
from taskferry.broker.core.settings import CoreSettings
from taskferry.broker.entrant import FAILED_RENEWALS_COUNT_MAX
from taskferry.broker.jobs.settings import JobSettings
from taskferry.broker.jobs.states import ENDED
from taskferry.broker.jobs.states import TRANSITIONS as JOB_TRANSITIONS
from taskferry.protocol import (
    api_messages,
    close_codes,
    errors,
    field_types,
    gather_messages,
    job_messages,
    limits,
    messages,
    stream_messages,
    topic_messages,
)
from taskferry.protocol.encodings import SUBPROTOCOLS, TOKEN_SUBPROTOCOL, Encoding
from taskferry.transport.backoff import BACKOFF_FIRST_S, BACKOFF_MAX_S
from taskferry.transport.settings import LinkSettings

from tests.each_case import each_case
from tests.unit.layout.source_tree import ROOT
from tests.unit.protocol.vectors import Vector, load

TEXT = (ROOT / "PROTOCOL.md").read_text(encoding="utf-8")
VECTORS = load()


def sections(level: int) -> dict[str, str]:
    """The text under each heading of this level, up to the next one of the same or a higher level."""
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", TEXT, flags=re.MULTILINE)
    return {
        title: body for marks, title, body in zip(*[iter(parts[1:])] * 3, strict=True) if len(marks) == level
    }


PORTS = sections(2)
MESSAGES = sections(3)
PARTS = {**MESSAGES, **sections(4)}
"""Messages, and parts of them."""


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Each table as a list of rows, a row as `{heading: cell}`."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        heading, _, *rows = lines
        yield [dict(zip(heading, row, strict=True)) for row in rows]


def table(text: str) -> list[dict[str, str]]:
    return next(tables(text))


def unquoted(cell: str) -> str:
    return cell.strip("`")


# --- examples -------------------------------------------------------------------------------------------------------


def examples() -> Iterator[tuple[str, str, str]]:
    """The port, the direction and the text of each message in a fenced block, in order."""
    for title, text in PORTS.items():
        for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                arrow, _, message = line.partition(" ")
                port = next((port for port in ("worker", "API") if port in title), "requester").lower()
                yield port, {"->": "to_broker", "<-": "from_broker"}[arrow], message


EXAMPLES = list(examples())


def vector_of(port: str, direction: str, text: str) -> Vector:
    found = [
        vector
        for vector in VECTORS
        if (vector.port, vector.direction, vector.text) == (port, direction, text)
        and vector.encoding is Encoding.JSON
    ]
    assert found, f"no test vector for {text}"
    return found[0]


def test_there_is_an_example_of_every_message() -> None:
    shown = {vector_of(*example).message for example in EXAMPLES}
    assert shown >= {vector.message for vector in VECTORS if vector.message}


@each_case("position", range(len(EXAMPLES)))
def test_every_example_is_a_test_vector(position: int) -> None:
    error = vector_of(*EXAMPLES[position]).error
    if error is not None:  # a bad message is followed by the answer to it
        _, direction, answer = EXAMPLES[position + 1]
        fault = json.loads(answer)["error"]
        text = fault["message"] if isinstance(fault, dict) else fault
        assert (direction, text) == ("from_broker", error)


def test_the_example_in_messagepack_is_a_test_vector() -> None:
    (digits,) = re.findall(r"`([0-9a-f]{40,})`", TEXT)
    (vector,) = (vector for vector in VECTORS if vector.text == digits)
    _, _, first = EXAMPLES[0]
    (same,) = (vector for vector in VECTORS if vector.text == first)
    assert vector.name == same.name


# --- fields ---------------------------------------------------------------------------------------------------------

JOBS = JobSettings()
NAME = "a [name](#names)"
DATA_BOUND = "up to 1 MiB less 4 KiB"

TABLES: dict[str, type[Struct]] = {
    "Request": messages.Request,
    "Cancel": messages.Cancel,
    "Progress": stream_messages.Progress,
    "Chunk (from the broker)": stream_messages.Chunk,
    "Reset": stream_messages.Reset,
    "Credit (from the requester)": stream_messages.Credit,
    "credit (from the broker)": stream_messages.Taken,
    "A gather": gather_messages.Gather,
    "Item": gather_messages.ItemMessage,
    "An item": gather_messages.Item,
    "Broadcast (from the requester)": gather_messages.Broadcast,
    "Broadcast (from the broker)": gather_messages.Broadcasted,
    "Custom (from the requester)": gather_messages.Send,
    "Sent": gather_messages.Sent,
    "Custom (from the broker)": gather_messages.Delivered,
    "Ping": messages.Ping,
    "Pong": messages.Pong,
    "Auth (from the requester)": messages.Auth,
    "Auth (from the broker)": messages.LoggedIn,
    "Expiring": messages.Expiring,
    "connect (from the worker)": messages.Hello,
    "connect (from the broker)": messages.Welcome,
    "request": messages.Call,
    "response": messages.Result,
    "cancel": messages.Reason,
    "auth (from the worker)": messages.Credential,
    "auth (from the broker)": messages.Login,
    "expiring": messages.Expiry,
    "disconnect": messages.Reason,
    "error": messages.Fault,
    "Submit": job_messages.Submit,
    "Unique": job_messages.Unique,
    "Receipt": job_messages.Receipt,
    "Await": job_messages.Await,
    "Job (from the requester)": job_messages.Job,
    "Job (from the broker)": job_messages.JobAnswer,
    "A job": job_messages.JobView,
    "A failed attempt": job_messages.FailedAttempt,
    "List": job_messages.ListJobs,
    "Filter": job_messages.Filter,
    "Jobs": job_messages.Jobs,
    "Retry": job_messages.Retry,
    "Remove": job_messages.Remove,
    "Changed": job_messages.Changed,
    "Schedule": job_messages.Schedule,
    "Schedules (from the requester)": job_messages.ScheduleAction,
    "Schedules (from the broker)": job_messages.Schedules,
    "A schedule": job_messages.ScheduleView,
    "Hello (from the requester)": job_messages.Greeting,
    "Hello (from the broker)": job_messages.Greeted,
    "Ack": job_messages.Ack,
    "Assigned": job_messages.JobAssigned,
    "Ended": job_messages.JobEnded,
    "Ping (at the API port)": api_messages.ApiPing,
    "Pong (at the API port)": api_messages.ApiPong,
    "Subscribe": topic_messages.Subscribe,
    "A subscription": topic_messages.Subscription,
    "How far": topic_messages.Since,
    "Subscribed": topic_messages.Subscribed,
    "Where": topic_messages.Position,
    "Events": topic_messages.EventMessage,
    "Batch": topic_messages.BatchMessage,
    "Gap": topic_messages.GapMessage,
    "How many": topic_messages.Loss,
    "Unsubscribe": topic_messages.Unsubscribe,
    "Unsubscribed": topic_messages.Unsubscribed,
    "Publish (from the requester)": topic_messages.Publish,
    "What is published": topic_messages.Publication,
    "Published": topic_messages.Published,
    "Error about topics": topic_messages.TopicError,
    "A fault": topic_messages.TopicFault,
    "Claim": messages.Claim,
    "Defaults": messages.Defaults,
    "Places": messages.Places,
    "Attempt": messages.AttemptOf,
}
"""The heading of a message, and the structure whose fields its first table lists."""

BOUNDS: dict[tuple[type[Struct], str], str] = {
    (messages.Request, "data"): DATA_BOUND,
    (messages.Request, "target"): f"up to {limits.LABEL_LENGTH_MAX} characters, or labels",
    (messages.Request, "gather"): "[as below](#a-gather)",
    (messages.Request, "hedge"): f"{limits.HEDGE_S_MIN:g} to {limits.TIMEOUT_S_MAX:,.0f}, or `p1` to `p99`",
    **{
        (
            gather_messages.Gather,
            name,
        ): f"1 to {limits.GATHER_COUNT_MAX:,}, a share over 0 and under 1, or `all`"
        for name in ("expect", "batch")
    },
    **{
        (kind, "data"): f"up to {limits.CUSTOM_SIZE_BYTES_MAX:,} bytes"
        for kind in (gather_messages.Broadcast, gather_messages.Send)
    },
    (gather_messages.Broadcast, "target"): f"up to {limits.LABEL_LENGTH_MAX} characters, or labels",
    **{(kind, "data"): DATA_BOUND for kind in (job_messages.Submit, job_messages.Schedule)},
    **{
        (kind, "target"): f"up to {limits.LABEL_LENGTH_MAX} characters, or labels"
        for kind in (job_messages.Submit, job_messages.Schedule)
    },
    **{
        (kind, "unique"): f"1 to {limits.JOB_ID_LENGTH_MAX} characters, or [as below](#unique)"
        for kind in (job_messages.Submit, job_messages.Schedule)
    },
    **{
        (kind, "backoff"): f"0 to {limits.JOB_TIMEOUT_S_MAX:,.0f}, or 1 to {limits.BACKOFF_COUNT_MAX} of them"
        for kind in (job_messages.Submit, job_messages.Schedule, messages.Defaults)
    },
    (job_messages.Filter, "states"): "states",
    (topic_messages.Subscribe, "data"): "[a subscription](#a-subscription)",
    (topic_messages.Unsubscribe, "data"): "[a subscription](#a-subscription)",
    (topic_messages.Subscription, "since"): "[how far](#how-far) one had got",
    (topic_messages.Publish, "data"): "[what](#what-is-published)",
    (topic_messages.Publication, "data"): f"up to {limits.EVENT_SIZE_BYTES_MAX:,} bytes",
    (messages.Hello, "running"): f"up to {limits.RUNNING_COUNT_MAX:,} items, each a [claim](#claim)",
    (messages.Hello, "defaults"): f"{NAME} to [defaults](#defaults)",
    (messages.Hello, "places"): "[places](#places)",
    (messages.Result, "result"): DATA_BOUND,
    (messages.Result, "error"): f"cut at {limits.TEXT_LENGTH_MAX:,} characters",
    (messages.Result, "code"): f"1 to {limits.CODE_LENGTH_MAX} of `a-z 0-9 _`, the first a letter",
}
"""Bounds that code other than the decoder checks, or that need more words than the code."""

DEFAULTS: dict[tuple[type[Struct], str], str] = {
    (messages.Request, "command"): "required",  # otherwise it is one of the other messages
    (messages.Request, "request_id"): "a UUID made by the broker",
    (messages.Request, "data"): "`{}`",
    (messages.Request, "timeout"): f"{limits.TIMEOUT_S_DEFAULT:g}",
    (messages.Request, "priority"): f"{limits.PRIORITY_DEFAULT}",
    **{(kind, "data"): "null" for kind in (gather_messages.Broadcast, gather_messages.Send)},
    **{(kind, "data"): "`{}`" for kind in (job_messages.Submit, job_messages.Schedule)},
    **{
        (kind, "priority"): f"{limits.PRIORITY_DEFAULT}"
        for kind in (job_messages.Submit, job_messages.Schedule)
    },
    **{
        (kind, "attempts"): f"{limits.ATTEMPTS_COUNT_DEFAULT}"
        for kind in (job_messages.Submit, job_messages.Schedule)
    },
    **{
        (kind, "timeout"): f"{limits.JOB_TIMEOUT_S_DEFAULT:,g}"
        for kind in (job_messages.Submit, job_messages.Schedule)
    },
    **{(kind, "backoff"): "n^4" for kind in (job_messages.Submit, job_messages.Schedule)},
    **{
        (kind, "keep"): f"{JOBS.keep_done_s:,g}; dead: {JOBS.keep_dead_s:,g}"
        for kind in (job_messages.Submit, job_messages.Schedule)
    },
    (job_messages.Submit, "job_id"): "made by the broker",
    (job_messages.Await, "request_id"): "the job_id",
    (messages.Hello, "name"): "made by the broker",
    (messages.Result, "result"): "null",
    (messages.Result, "error"): f"`{errors.HandlerError.message}`",
    (messages.Result, "code"): f"`{errors.HandlerError.code}`",
}
"""Defaults that code other than the decoder fills in."""


ORDER = ["boolean", "number", "array of numbers", "array of strings", "string", "object", "integer"].index
"""Types of which a field takes several, in the order in which they are listed. Others it takes alone."""


def type_text(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType(types=types):
            parts = [part for part in types if not isinstance(part, inspect.NoneType)]
            listed = " or ".join(sorted((type_text(part) for part in parts if not is_unset(part)), key=ORDER))
            return listed + " or null" * (len(parts) < len(types))
        case inspect.StrType() | inspect.LiteralType():
            return "string"
        case inspect.IntType():
            return "integer"
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "boolean"
        case inspect.ListType(item_type=item):
            return f"array of {type_text(item)}s"
        case inspect.DictType(key_type=inspect.StrType(), value_type=inspect.StrType()):
            return "object of strings"
        case inspect.DictType() | inspect.StructType():
            return "object"
        case inspect.RawType():
            return "any"
        case _:
            raise AssertionError(f"no word for {kind}")


def is_unset(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.CustomType) and kind.cls is msgspec.UnsetType


def bound_text(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType(types=types):
            return "".join(map(bound_text, types))
        case inspect.StrType(pattern=str()):
            return NAME
        case inspect.StrType(max_length=int()):
            return span(kind.min_length, kind.max_length) + " characters"
        case inspect.IntType(le=int()) | inspect.FloatType(le=float()):
            return span(kind.ge, kind.le) if kind.gt is None else f"over {kind.gt:g}, up to {kind.le:,.12g}"
        case inspect.IntType(ge=int()):
            return f"{kind.ge} or more"
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case inspect.ListType(max_length=int(), item_type=item):
            return f"{span(kind.min_length, kind.max_length)} items, each {bound_text(item)}"
        case inspect.DictType(max_length=int(), key_type=key, value_type=value):
            assert bound_text(key) == bound_text(value)
            return f"{span(None, kind.max_length)} entries, keys and values {bound_text(key)}"
        case _:
            return ""


def span(least: float | None, most: float | None) -> str:
    return f"{least:g} to {most:,.12g}" if least is not None else f"up to {most:,.12g}"


def default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default: Any = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    if default is None or default is UNSET:
        return "none"
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{json.dumps(default)}`" if isinstance(default, bool | dict | list) else f"{default:g}"


@each_case("title", TABLES)
def test_every_field_is_listed_and_no_other(title: str) -> None:
    kind = TABLES[title]
    listed = [unquoted(row["field"]) for row in table(PARTS[title])]
    tag = kind.__struct_config__.tag_field
    assert sorted(listed) == sorted([*kind.__struct_encode_fields__, *([tag] if tag else [])])


FIELDS = [(title, field) for title, kind in TABLES.items() for field in msgspec.structs.fields(kind)]


@each_case(("title", "field"), FIELDS, ids=lambda case: f"{case[0]}: {case[1].encode_name}")
def test_type_bound_and_default_of_each_field_are_the_codes(
    title: str, field: msgspec.structs.FieldInfo
) -> None:
    kind = TABLES[title]
    (row,) = (row for row in table(PARTS[title]) if unquoted(row["field"]) == field.encode_name)
    information = inspect.type_info(kind)
    assert isinstance(information, inspect.StructType)
    (type_,) = (one.type for one in information.fields if one.name == field.name)
    listed, _, unit = row["type"].partition(", ")
    assert listed == type_text(type_)
    assert unit in ("", "seconds", "bytes")
    if "bound" in row:
        bound = BOUNDS.get((kind, field.name)) or bound_text(type_)
        assert row["bound"] in (bound, sorted_values(bound)) or sorted_values(row["bound"]) == bound
        assert row["default"] == DEFAULTS.get((kind, field.name), default_text(field))


def sorted_values(bound: str) -> str:
    """Values in another order: the inspection of types does not keep it."""
    return ", ".join(sorted(bound.split(", ")))


TAGGED = [title for title, kind in TABLES.items() if kind.__struct_config__.tag_field]


@each_case("title", TAGGED)
def test_the_type_of_each_message_of_the_requester_port_is_listed(title: str) -> None:
    kind = TABLES[title]
    (row,) = (row for row in table(PARTS[title]) if unquoted(row["field"]) == "type")
    assert f"`{kind.__struct_config__.tag}`" in (row.get("bound"), row["meaning"])


def test_a_response_has_the_fields_that_are_listed() -> None:
    rows = table(MESSAGES["Response"])
    names = [unquoted(row["field"]) for row in rows]
    assert names == list(messages.Failure.__struct_fields__)
    assert names[:5] == list(messages.Response.__struct_fields__)
    assert all("ailures" in row["meaning"] or "overloaded" in row["meaning"] for row in rows[5:])
    assert "five keys" in MESSAGES["Response"]


def test_the_values_of_a_delivery_are_listed() -> None:
    (row,) = (row for row in table(MESSAGES["Response"]) if unquoted(row["field"]) == "delivery")
    assert re.findall(r"`(\w+)`:", row["meaning"]) == [errors.NOT_DELIVERED, errors.MAY_HAVE_RUN]


def test_the_reasons_of_a_cancel_are_listed() -> None:
    (row,) = table(MESSAGES["cancel"])
    assert re.findall(r"`(\w+)`", row["meaning"]) == list(get_args(CancelReason))


def test_the_percentiles_of_a_hedge_are_listed() -> None:
    fitting = [text for number in range(200) if re.search(field_types.HEDGE_PATTERN, text := f"p{number}")]
    assert (fitting[0], fitting[-1], len(fitting)) == ("p1", "p99", 99)


def test_the_envelope_of_the_worker_port_is_listed() -> None:
    listed = {unquoted(row["field"]): row for row in table(MESSAGES["Envelope"])}
    assert list(listed) == ["type", "msg_id", "timestamp", "data", "kind", "to", "sequence"]
    kinds: list[type[Struct]] = [messages.WorkerConnect, messages.Disconnect, messages.Heartbeat]
    kinds += [messages.WorkerResponse, messages.ErrorMessage, messages.Notification, gather_messages.Custom]
    kinds += [messages.Connected, messages.AssignmentMessage, messages.CancelAssignment, messages.Settled]
    kinds += [messages.WorkerAuth, messages.WorkerLoggedIn, messages.WorkerExpiring]
    kinds += [stream_messages.WorkerChunk, stream_messages.WorkerCredit, topic_messages.WorkerPublish]
    for kind in kinds:
        assert set(kind.__struct_fields__) <= listed.keys()
        tag = str(kind.__struct_config__.tag)
        for field in msgspec.structs.fields(kind):
            if field.required and field.name != "timestamp":
                assert f"`{tag}`" in listed[field.name]["meaning"], (tag, field.name)
    assert listed["msg_id"]["bound"] == f"up to {limits.REQUEST_ID_LENGTH_MAX} characters"


def test_every_message_of_the_worker_port_has_its_section() -> None:
    titles = " ".join(MESSAGES)
    for kind in (messages.FromWorker, messages.FromBroker):
        for message in kind.__args__:
            assert re.search(rf"\b{message.__struct_config__.tag}\b", titles)


def test_the_characters_of_a_name_are_those_of_the_pattern() -> None:
    (paragraph,) = re.findall(r"^#### Names\n\n(.+)$", TEXT, re.MULTILINE)
    length, _, letters = paragraph.partition(" characters of ")
    assert length == f"1 to {limits.NAME_LENGTH_MAX}"
    (letters,) = re.findall("`(.+)`", letters)
    listed = "".join(
        "".join(map(chr, range(ord(part[0]), ord(part[2]) + 1))) if len(part) == 3 else part
        for part in letters.split()
    )
    every = [chr(number) for number in range(32, 0x250)]
    assert {one for one in every if re.search(field_types.NAME_PATTERN, "a" + one)} == set(listed)
    firsts = {one for one in every if re.search(field_types.NAME_PATTERN, one)}
    assert firsts == {one for one in listed if one.isalnum()}
    assert paragraph.endswith(", the first a letter or a digit.")


# --- tables and numbers ---------------------------------------------------------------------------------------------


def test_the_error_table_is_the_registry() -> None:
    listed = [
        (unquoted(row["code"]), row["message"], row["retryable"], row["blame"])
        for row in table(PORTS["Errors"])
    ]
    assert listed == [
        (code, error.message, "yes" if error.retryable else "no", error.blame)
        for code, error in errors.REGISTRY.items()
    ]


def test_the_codes_that_a_worker_may_send_are_listed() -> None:
    (codes,) = re.findall(r"^`code`\s+is\s+one\s+of\s+([^.]+),\s+or\s+one\s+of", TEXT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", codes)) == errors.WORKER_CODES


def test_the_limits_table_is_that_of_the_code() -> None:
    listed = [(unquoted(row["name"]), float(row["value"])) for row in table(PORTS["Limits"])]
    assert listed == [(name, value) for name, value in vars(limits).items() if name.isupper()]


def test_the_close_codes_of_our_own_are_listed() -> None:
    listed = {int(row["code"]) for row in table(PORTS["Close codes"])}
    assert {value for name, value in vars(close_codes).items() if name.isupper()} <= listed


def test_the_statuses_of_refusals_are_listed() -> None:
    listed = {
        int(row["status"]) for rows in tables(PORTS["Ports and handshake"]) for row in rows if "status" in row
    }
    assert {400, 401, 403, 429, 503} <= listed


def test_the_sub_protocols_are_listed() -> None:
    offered = {
        unquoted(row["offered"])
        for rows in tables(PORTS["Ports and handshake"])
        for row in rows
        if "offered" in row
    }
    assert offered == {*SUBPROTOCOLS, "nothing"}


LINK, CORE = LinkSettings(), CoreSettings()
FACTS: list[tuple[str, *tuple[str, ...]]] = [
    ("Ports and handshake", "`HANDSHAKE_S_MAX`", f"{limits.HANDSHAKE_S_MAX:g} s"),
    ("Ports and handshake", "head", f"{LINK.handshake_size_bytes_max // 1024} KiB"),
    ("Login", "`TOKEN_LENGTH_MAX`", f"{limits.TOKEN_LENGTH_MAX:,} characters"),
    ("Login", f"`{TOKEN_SUBPROTOCOL}TOKEN`"),
    ("Login", "`EXPIRY_NOTICE_S`", f"{limits.EXPIRY_NOTICE_S:g} s"),
    ("Login", f"{FAILED_RENEWALS_COUNT_MAX} tokens in a row", str(close_codes.LOGIN_ENDED)),
    ("Login", "that a connection has used", str(close_codes.RIGHT_LOST)),
    ("Login", f"After {FAILED_LOGINS_COUNT_MAX} failed logins"),
    ("The worker port", "`NEW_COMMANDS_BURST_COUNT`", f"bring {NEW_COMMANDS_BURST_COUNT:,}"),
    ("The worker port", "`NEW_COMMANDS_PER_S`", f"{NEW_COMMANDS_PER_S:,} more each second"),
    ("The worker port", "`DECLARED_COMMANDS_BURST_COUNT`", f"join with {DECLARED_COMMANDS_BURST_COUNT:,}"),
    ("The worker port", "`DECLARED_COMMANDS_PER_S`", f"{DECLARED_COMMANDS_PER_S:,} more each second"),
    ("The worker port", f"knows more than {COMMANDS_KNOWN_COUNT_MAX:,}"),
    ("Frames", "`MESSAGE_SIZE_BYTES_MAX`", f"{limits.MESSAGE_SIZE_BYTES_MAX // 2**20} MiB"),
    ("Frames", "Read what is sent to you", f"{LINK.unsent_size_bytes_max // 2**20} MiB"),
    ("Staying alive", "workers", f"{LINK.heartbeat_interval_s:g} s", f"{LINK.silence_s_max:g} s"),
    (
        "Staying alive",
        "requesters",
        f"{REQUESTER_HEARTBEAT_INTERVAL_S:g} s",
        f"{REQUESTER_SILENCE_S_MAX:g} s",
    ),
    ("Staying alive", "SDKs", f"{BACKOFF_FIRST_S:g} s", f"{BACKOFF_MAX_S:g} s"),
    ("The requester port", "`IN_FLIGHT_COUNT_MAX`", f"{limits.IN_FLIGHT_COUNT_MAX:,}"),
    ("The requester port", "`data`", DATA_BOUND),
    (
        "The requester port",
        "**Target.**",
        f"1 to {limits.LABELS_COUNT_MAX} of them",
        f"{limits.LABEL_LENGTH_MAX} characters",
    ),
    ("The requester port", "**Target.**", f"1 to {limits.LABEL_VALUES_COUNT_MAX} values"),
    (
        "The requester port",
        "**Hedge.**",
        f"at least {hedging.DURATIONS_COUNT_MIN}",
        f"{CORE.hedges_share_max * 100:g} %",
    ),
    ("The worker port", "`HANDSHAKE_S_MAX`", f"{limits.HANDSHAKE_S_MAX:g} s"),
    (
        "The worker port",
        "`canary`",
        f"{CANARY_TIMEOUT_S:g} s to answer",
        f"nothing for {CANARY_INTERVAL_S:g} s",
    ),
    ("The worker port", "**Health.**", f"({streak.FAILURES_COUNT_MIN} if"),
    ("The worker port", "**Health.**", f"{outliers.DEVIATIONS:g} standard deviations"),
    ("The worker port", "**Health.**", f"{outliers.GAP_MIN * 100:g} percentage points"),
    (
        "The worker port",
        "**Health.**",
        f"{ejection.EJECTION_S:g} s the first time",
        f"{ejection.EJECTION_S_MAX:g} s at most",
    ),
    ("The worker port", "**Health.**", f"within {ejection.SLOW_START_S:g} s"),
    (
        "The worker port",
        "**Health.**",
        f"At most {pool.EJECTED_SHARE_MAX * 100:g} %",
        f"fewer than {pool.PANIC_SHARE * 100:g} %",
    ),
    ("What becomes of a request", "`queue_count_max`", f"{CORE.queue_count_max:,}"),
    ("What becomes of a request", "`queue_size_bytes_max`", f"{CORE.queue_size_bytes_max // 2**20} MiB"),
    ("What becomes of a request", "`idempotent`", f"at most {CORE.retries_count_max} more times"),
    ("What becomes of a request", "`idempotent`", f"{CORE.retries_share_max * 100:g} %"),
    (
        "What becomes of a request",
        "**Overload.**",
        f"{overload.INTERVAL_S:g} s and {overload.WAITS_COUNT_MIN} requests",
    ),
    ("The worker port", "`PROGRESS_SIZE_BYTES_MAX`", f"{limits.PROGRESS_SIZE_BYTES_MAX:,} bytes"),
    ("What becomes of a job", "the worker", f"after {JOBS.adoption_s:g} s"),
    ("What becomes of a job", "the worker's connection", f"within {JOBS.adoption_s:g} s"),
    ("What becomes of a job", "`adoption`", f"within {JOBS.adoption_s:g} s"),
    ("What becomes of a job", "`LOSSES_COUNT_MAX`", f"{limits.LOSSES_COUNT_MAX} losses"),
    ("Close codes", "close frame", f"{LINK.close_s_max:g} s"),
]
"""A heading of the second level, and texts that must be in one paragraph, list item or table row below it."""


def passages(text: str) -> list[str]:
    """Paragraphs, list items and table rows, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\n|\n(?=[-|] ?)", text)]


@each_case("fact", FACTS, ids=" ".join)
def test_a_number_in_the_text_is_the_codes(fact: tuple[str, ...]) -> None:
    title, *parts = fact
    assert any(all(part in passage for part in parts) for passage in passages(PORTS[title]))


def test_the_bound_of_data_is_that_of_a_message_less_an_envelope() -> None:
    assert limits.MESSAGE_SIZE_BYTES_MAX == 2**20
    assert limits.ENVELOPE_SIZE_BYTES_MAX == 4 * 2**10


def test_every_link_inside_leads_to_a_heading() -> None:
    titles = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings


def diagrams() -> list[set[tuple[str, str]]]:
    """The steps of each diagram of states."""
    blocks = re.findall(r"^```mermaid\nstateDiagram-v2\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return [set(re.findall(r"^ +(\S+) --> (\w+|\[\*\])", block, re.MULTILINE)) for block in blocks]


def test_there_are_three_diagrams_of_states() -> None:
    assert len(diagrams()) == 3


def test_the_states_of_a_job_are_those_of_the_table_of_jobs() -> None:
    steps = {(before, after) for (before, _), after in JOB_TRANSITIONS.items() if before is not after}
    named = {(before.name.lower(), after.name.lower()) for before, after in steps}
    begins = {("[*]", "accepted"), ("[*]", "held")}
    assert diagrams()[2] == named | begins | {(state.name.lower(), "[*]") for state in ENDED}


def test_the_states_of_a_worker_are_those_of_the_cores_table() -> None:
    steps = {(before.value, after.value) for (before, _), after in TRANSITIONS.items() if before is not after}
    assert diagrams()[0] == steps | {("[*]", "joining"), ("gone", "[*]")}
