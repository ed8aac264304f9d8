"""What a requester encodes and decodes, in each encoding."""

import msgpack
import msgspec
import pytest
from taskferry.protocol.codec import DECODE_ERRORS
from taskferry.protocol.encodings import Encoding
from taskferry.requester.response import Response
from taskferry.requester.wire import WIRES, OutgoingRequest

JSON = WIRES[Encoding.JSON]
MSGPACK = WIRES[Encoding.MSGPACK]


def test_only_what_differs_from_the_default_is_written() -> None:
    assert JSON.encode_request(OutgoingRequest("r", "echo", timeout=5.0)) == (
        b'{"request_id":"r","command":"echo","timeout":5.0}'
    )
    assert msgpack.unpackb(
        MSGPACK.encode_request(
            OutgoingRequest("r", "echo", None, 5.0, True, 0, "a", "t", {"gpu": ["yes"]}, "p95")
        )
    ) == {
        "request_id": "r",
        "command": "echo",
        "data": None,
        "timeout": 5.0,
        "idempotent": True,
        "priority": 0,
        "affinity": "a",
        "trace": "t",
        "target": {"gpu": ["yes"]},
        "hedge": "p95",
    }


def test_a_new_budget_leaves_all_else_untouched() -> None:
    payload = (
        b'{"request_id":"r","command":"echo","data":{"b": 1.10,"a":1e400},"timeout":5.0,"idempotent":true}'
    )
    again = JSON.with_timeout(payload, 1.25)
    assert b'"data":{"b": 1.10,"a":1e400}' in again
    message = msgspec.json.decode(again.replace(b"1e400", b"0"))
    assert (message["request_id"], message["command"], message["timeout"], message["idempotent"]) == (
        "r",
        "echo",
        1.25,
        True,
    )


def test_a_new_budget_leaves_the_target_and_the_hedge() -> None:
    for target in ("worker-1", {"gpu": "yes", "zone": ["a", "b"]}):
        message = OutgoingRequest("r", "echo", timeout=5.0, idempotent=True, target=target, hedge=0.25)
        again = msgspec.json.decode(JSON.with_timeout(JSON.encode_request(message), 1.25))
        assert (again["timeout"], again["target"], again["hedge"]) == (1.25, target, 0.25)


def test_a_new_budget_works_in_msgpack() -> None:
    payload = MSGPACK.encode_request(OutgoingRequest("r", "echo", {1: b"x"}, 5.0))
    message = msgpack.unpackb(MSGPACK.with_timeout(payload, 1.25), strict_map_key=False)
    assert (message["data"], message["timeout"]) == ({1: b"x"}, 1.25)


def test_what_breaks_a_bound_of_the_broker_is_left_for_it_to_refuse() -> None:
    payload = JSON.encode_request(OutgoingRequest("r", "x" * 1000, timeout=5.0))
    assert JSON.with_timeout(payload, 1.0) == payload


def test_cancel() -> None:
    assert JSON.encode_cancel("r") == b'{"type":"cancel","request_id":"r"}'


@pytest.mark.parametrize("wire", WIRES.values(), ids=[encoding.value for encoding in WIRES])
def test_responses_of_both_kinds(wire: object) -> None:
    assert wire in (JSON, MSGPACK)
    encode = msgspec.json.encode if wire is JSON else msgspec.msgpack.encode
    decode = JSON.decode_response if wire is JSON else MSGPACK.decode_response
    success = {
        "request_id": "r",
        "success": True,
        "data": [1],
        "error": None,
        "processed_by": "w",
        "later": 1,
    }
    assert decode(encode(success)) == Response("r", True, [1], None, "w", None)
    failure = {
        "request_id": "r",
        "success": False,
        "data": None,
        "error": "e",
        "processed_by": None,
        "code": "c",
    }
    assert decode(encode(failure)) == Response("r", False, None, "e", None, "c")
    more = {"delivery": "not_delivered", "queue_wait": 0.5, "retry_after": 2}
    assert decode(encode(failure | more)) == Response(
        "r", False, None, "e", None, "c", delivery="not_delivered", queue_wait_s=0.5, retry_after_s=2.0
    )
    assert decode(encode(failure | {"delivery": "a word of a later broker"})).success is False


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"request_id":null,"success":false}', b'{"request_id":"r"}']
)
def test_what_is_no_response_raises_a_decode_error(payload: bytes) -> None:
    with pytest.raises(DECODE_ERRORS):
        JSON.decode_response(payload)
