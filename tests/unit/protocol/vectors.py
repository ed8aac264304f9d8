"""The test vectors as the tests see them."""

import json
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct
from taskferry.protocol import api_messages, messages
from taskferry.protocol.codec import CODECS, DECODE_ERRORS, describe
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.topic_messages import EventMessage, TopicError

from tests.unit.layout.source_tree import ROOT

EVENT_TYPES = ("event", "task_", "job_", "worker_", "broker_")
"""What the types of events begin with."""

FOLDER = ROOT / "tests" / "vectors"


@dataclass(frozen=True)
class Vector:
    """One line of a file; it has either `message` and `fields` or `error`. `text` is what the file calls `bytes`."""

    file: str
    name: str
    port: str
    direction: str
    encoding: Encoding
    text: str
    message: str | None = None
    fields: dict[str, Any] | None = None
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.file} {self.encoding.value}: {self.name}"

    @property
    def payload(self) -> bytes:
        return self.text.encode() if self.encoding is Encoding.JSON else bytes.fromhex(self.text)


def load() -> list[Vector]:
    """Every vector of every file."""
    return [
        Vector(file.stem, encoding=Encoding(line.pop("encoding")), text=line.pop("bytes"), **line)
        for file in sorted(FOLDER.glob("*.json"))
        for line in json.loads(file.read_text(encoding="utf-8"))
    ]


def read(vector: Vector) -> Struct | str:
    """The message as its receiver decodes it, or its receiver's error."""
    codec = CODECS[vector.encoding]
    try:
        message: Struct
        match vector.port, vector.direction:
            case "requester", "to_broker":
                if codec.ids_in(vector.payload).type in messages.ABOUT_JOBS:
                    about_jobs: Struct = codec.requester_control(vector.payload)
                    return about_jobs
                message = codec.request(vector.payload)
                assert isinstance(message, messages.Request)
                if message.command is UNSET:
                    # A requester says either what to run or which other message this is.
                    return (
                        "command: missing"
                        if message.type is UNSET
                        else codec.requester_control(vector.payload)
                    )
            case "requester", "from_broker":
                type_ = codec.ids_in(vector.payload).type
                if isinstance(type_, str) and type_.startswith(EVENT_TYPES):
                    return read_as(vector, EventMessage)
                if type_ == "error":
                    return read_as(vector, TopicError)
                outcome = codec.outcome(vector.payload)
                if outcome.type is not UNSET:
                    # A requester is sent a response, or something that says what it is.
                    control: Struct = codec.from_broker_control(vector.payload)
                    return control
                message = read_as(vector, messages.Response if outcome.success else messages.Failure)
            case "worker", "to_broker":
                message = codec.from_worker(vector.payload)
            case "api", "to_broker":
                try:
                    message = api_messages.decode(vector.payload)
                except DECODE_ERRORS as error:
                    return api_messages.fault_of(vector.payload, error)[1].message
            case "api", "from_broker":
                message = read_as(vector, api_messages.ToApiClient)
            case _:
                message = codec.from_broker(vector.payload)
    except DECODE_ERRORS as error:
        return describe(error, vector.encoding)
    return message


def read_as(vector: Vector, kind: Any) -> Struct:
    """The message as the structure that its sender wrote."""
    library = msgspec.json if vector.encoding is Encoding.JSON else msgspec.msgpack
    message: Struct = library.decode(vector.payload, type=kind)
    return message


def fields_of(message: Struct, encoding: Encoding) -> dict[str, Any]:
    """The fields of a message that differ from their defaults, in the notation of the vectors."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        if value is UNSET or (type(value) is type(field.default) and value == field.default):
            continue
        if field.default_factory is not msgspec.NODEFAULT and value == field.default_factory():
            continue
        match value:
            case Raw():
                value = raw_text(value, encoding)
            case [Raw(), *_]:
                value = [raw_text(item, encoding) for item in value]
            case Struct():
                value = fields_of(value, encoding)
            case [Struct(), *_]:
                value = [fields_of(item, encoding) for item in value]
            case dict():
                value = {
                    key: fields_of(item, encoding) if isinstance(item, Struct) else item
                    for key, item in value.items()
                }
        fields[field.name] = value
    return fields


def raw_text(raw: Raw, encoding: Encoding) -> dict[str, str]:
    """Bytes that are carried as they are, in the notation of the vectors."""
    return {"raw": bytes(raw).decode() if encoding is Encoding.JSON else bytes(raw).hex()}
