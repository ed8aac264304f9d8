"""Whatever a web page sends is a message, or has an answer that can be written."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from taskferry.protocol.api_messages import KNOWN_TYPES, UNKNOWN_MESSAGE_TYPE, decode, fault_of, id_in
from taskferry.protocol.codec import DECODE_ERRORS
from taskferry.protocol.topic_messages import TopicError

from tests.each_case import each_case

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["type", "id", "data", "topics", "since", "token", "device", "client_id"])
MESSAGES = st.dictionaries(NAMES, st.sampled_from(KNOWN_TYPES) | VALUES, max_size=5).map(
    lambda message: json.dumps(message).encode()
)


@given(st.binary() | MESSAGES)
@example(b'{"type":"\\ud800"}')
@example(b"[" * 10_000)
@example(b'{"id":"' + b"i" * 129 + b'","type":7}')
def test_it_decodes_or_is_answered(payload: bytes) -> None:
    try:
        decode(payload)
    except DECODE_ERRORS as error:
        id, fault = fault_of(payload, error)
        assert fault.code in (UNKNOWN_MESSAGE_TYPE, "bad_request")
        assert len(fault.message) < 1000
        msgspec.json.encode(TopicError(id, 0, fault))
        assert id == id_in(payload)
        assert id is None or len(id) <= 128


@each_case("type_", KNOWN_TYPES)
def test_a_known_type_is_never_called_unknown(type_: str) -> None:
    payload = json.dumps({"type": type_, "id": 7, "request_id": 7}).encode()
    with pytest.raises(DECODE_ERRORS) as refused:
        decode(payload)
    assert fault_of(payload, refused.value)[1].code == "bad_request"
