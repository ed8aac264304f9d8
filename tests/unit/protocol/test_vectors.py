"""Every vector of tests/vectors/ is read, refused or written by the codec as it says, and none is missing."""

import json
import typing
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from taskferry.protocol import (
    api_messages,
    gather_messages,
    job_messages,
    messages,
    stream_messages,
    topic_messages,
)
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding

from tests.each_case import each_case
from tests.unit.protocol.vectors import Vector, fields_of, load, read, read_as

VECTORS = load()
GOOD = [vector for vector in VECTORS if vector.error is None]
BAD = [vector for vector in VECTORS if vector.error is not None]
FROM_BROKER = [vector for vector in GOOD if vector.direction == "from_broker"]

MESSAGES: dict[tuple[str, str], set[str]] = {
    ("requester", "to_broker"): {
        "Request",
        *(kind.__name__ for kind in typing.get_args(messages.RequesterControl)),
    },
    ("requester", "from_broker"): {
        "Response",
        "Failure",
        "EventMessage",
        *(kind.__name__ for kind in typing.get_args(messages.BrokerControl)),
    },
    ("worker", "to_broker"): {kind.__name__ for kind in typing.get_args(messages.FromWorker)},
    ("worker", "from_broker"): {kind.__name__ for kind in typing.get_args(messages.FromBroker)},
    ("api", "to_broker"): {kind.__name__ for kind in typing.get_args(api_messages.FromApiClient)},
    ("api", "from_broker"): {kind.__name__ for kind in typing.get_args(api_messages.ToApiClient)},
}
SPOKEN = {"requester": tuple(Encoding), "worker": tuple(Encoding), "api": (Encoding.JSON,)}


KINDS = {
    name: value
    for module in (messages, job_messages, stream_messages, topic_messages, api_messages, gather_messages)
    for name, value in vars(module).items()
}
"""What the files call a message, and its structure."""


def test_every_message_has_vectors_in_both_encodings() -> None:
    found = {(vector.port, vector.direction, vector.message, vector.encoding) for vector in GOOD}
    wanted = {
        (*where, message, encoding)
        for where, names in MESSAGES.items()
        for message in names
        for encoding in SPOKEN[where[0]]
    }
    assert found == wanted


def test_every_port_has_bad_messages_in_both_encodings() -> None:
    found = {(vector.port, vector.encoding) for vector in BAD}
    assert found == {(port, encoding) for port, spoken in SPOKEN.items() for encoding in spoken}


def test_a_vector_has_a_unique_name_and_is_where_it_belongs() -> None:
    names = [str(vector) for vector in VECTORS]
    assert len(set(names)) == len(names)
    for vector in VECTORS:
        first, last = (
            ("broker", vector.port) if vector.direction == "from_broker" else (vector.port, "broker")
        )
        assert vector.file == f"{first}_to_{last}"
        assert (vector.error is None) == (vector.message is not None) == (vector.fields is not None)


@each_case("vector", GOOD, ids=str)
def test_a_good_message_is_read(vector: Vector) -> None:
    message = read(vector)
    assert isinstance(message, Struct), message
    assert type(message).__name__ == vector.message
    assert fields_of(message, vector.encoding) == vector.fields


@each_case("vector", BAD, ids=str)
def test_a_bad_message_is_refused_with_a_text_that_says_why(vector: Vector) -> None:
    assert read(vector) == vector.error


@each_case("vector", FROM_BROKER, ids=str)
def test_what_a_broker_sends_is_what_it_writes(vector: Vector) -> None:
    message = read_as(vector, KINDS[str(vector.message)])
    written = CODECS[vector.encoding].encode(message)
    if vector.encoding is Encoding.MSGPACK:
        assert written == vector.payload
    else:
        assert ordered(written) == ordered(vector.payload)


@each_case("vector", [v for v in FROM_BROKER if v.message in ("Response", "Failure")], ids=str)
def test_a_requester_reads_every_response_into_one_structure(vector: Vector) -> None:
    codec = CODECS[vector.encoding]
    outcome = codec.outcome(vector.payload)
    written = read(vector)
    assert isinstance(written, Struct)
    expected = msgspec.structs.asdict(written)
    if isinstance(written, messages.Failure):
        expected["data"] = codec.null
        expected = {name: None if value is UNSET else value for name, value in expected.items()}
    assert {name: getattr(outcome, name) for name in expected} == expected


def ordered(payload: bytes) -> Any:
    """A JSON text as lists of pairs, so that the order of keys matters and white space does not."""
    return json.loads(payload, object_pairs_hook=list)
