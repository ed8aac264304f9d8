"""The named loads, as data: what `cost` measures, in the order of its tables."""

from dataclasses import dataclass, replace
from typing import Final

from .load import Load
from .payload import SIZE_BYTES_MIN, json_data

_SMALL: Final = json_data(SIZE_BYTES_MIN, "records")
_SATURATED: Final = Load(_SMALL, request_count=30_000, warm_up_count=3_000)
_LARGE: Final = Load(b"{}", request_count=8_000, warm_up_count=800)
_HUGE: Final = Load(b"{}", request_count=800, warm_up_count=80)


@dataclass(frozen=True, slots=True)
class NamedLoad:
    """A load of the tables. `beside` names the load whose figures are shown for the other brokers.

    If that is another load, the two differ only in what other brokers do not have (encodings, commands), and these are
    not measured twice.
    """

    name: str
    meaning: str
    load: Load
    beside: str


def _shared(name: str, meaning: str, load: Load) -> NamedLoad:
    return NamedLoad(name, meaning, load, name)


LOADS: Final = (
    _shared(
        "serial",
        "one request in flight",
        Load(
            _SMALL,
            request_count=4_000,
            warm_up_count=400,
            requester_count=1,
            in_flight_count_per_requester=1,
        ),
    ),
    _shared(
        "saturated-each", "8 connections with 16 in flight each, 4 workers, one send per message", _SATURATED
    ),
    _shared(
        "saturated-joined",
        "the same, sends joined per batch that was read",
        replace(_SATURATED, mode="joined"),
    ),
    _shared(
        "16k-records",
        "16 KiB of JSON: a list of small objects",
        replace(_LARGE, data=json_data(16_384, "records")),
    ),
    _shared("16k-text", "16 KiB of JSON: one long string", replace(_LARGE, data=json_data(16_384, "text"))),
    _shared(
        "256k-records",
        "256 KiB of JSON: a list of small objects",
        replace(_HUGE, data=json_data(262_144, "records")),
    ),
    _shared("256k-text", "256 KiB of JSON: one long string", replace(_HUGE, data=json_data(262_144, "text"))),
    NamedLoad(
        "msgpack-each",
        "saturated-each in MessagePack",
        replace(_SATURATED, encodings=("msgpack",)),
        "saturated-each",
    ),
    NamedLoad(
        "msgpack-joined",
        "saturated-joined in MessagePack",
        replace(_SATURATED, encodings=("msgpack",), mode="joined"),
        "saturated-joined",
    ),
    NamedLoad(
        "mixed-encodings",
        "saturated-each, half of the requesters and half of the workers in MessagePack",
        replace(_SATURATED, encodings=("json", "msgpack")),
        "saturated-each",
    ),
    NamedLoad(
        "20-commands",
        "saturated-each, 20 commands in turn, which every worker serves",
        replace(_SATURATED, commands=tuple(f"echo-{count}" for count in range(1, 21))),
        "saturated-each",
    ),
    _shared(
        "1000-workers",
        "saturated-each with 1,000 workers",
        replace(_SATURATED, request_count=20_000, worker_count=1_000),
    ),
    _shared(
        "2000-requesters",
        "2,000 connections with one request in flight each, 4 workers",
        Load(_SMALL, requester_count=2_000, in_flight_count_per_requester=1, worker_concurrency=1_000),
    ),
)
BY_NAME: Final = {one.name: one for one in LOADS}
