"""The messages built from parts equal what the encoder would have written from their structures."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from taskferry.protocol import frequent
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.frequent import TIMESTAMP_STEPS_PER_S, FrequentMessages
from taskferry.protocol.messages import AssignmentMessage, Call, Response

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
DATA = st.recursive(st.none() | st.integers(-9, 9) | TEXTS, lambda inner: st.lists(inner, max_size=3))
encodings = pytest.mark.parametrize("encoding", Encoding)


def raw(encoding: Encoding, value: object) -> Raw:
    return Raw(CODECS[encoding].encode(value))


@encodings
@given(
    values=st.lists(
        st.tuples(TEXTS, st.floats(0, 4e9), TEXTS, DATA, st.sampled_from([30.0, 0.001, 12.345]), TEXTS),
        min_size=1,
        max_size=4,
    )
)
def test_an_assignment_is_what_the_encoder_writes(
    encoding: Encoding, values: list[tuple[str, float, str, object, float, str]]
) -> None:
    messages = FrequentMessages(encoding)
    for msg_id, timestamp, action, data, timeout_s, request_id in values:
        params = raw(encoding, data)
        written = messages.assignment(msg_id, timestamp, action, params, timeout_s, request_id)
        at = int(timestamp * TIMESTAMP_STEPS_PER_S) / TIMESTAMP_STEPS_PER_S
        message = AssignmentMessage(msg_id, at, Call(action, params, timeout_s, request_id))
        assert written == CODECS[encoding].encode(message)
        head, tail = messages.around_params(msg_id, timestamp, action, timeout_s, request_id)
        assert head + bytes(params) + tail == written


@encodings
@given(values=st.lists(st.tuples(TEXTS, DATA, TEXTS), min_size=1, max_size=4))
def test_a_success_is_what_the_encoder_writes(
    encoding: Encoding, values: list[tuple[str, object, str]]
) -> None:
    messages = FrequentMessages(encoding)
    for request_id, data, worker_id in values:
        result = raw(encoding, data)
        written = messages.success(request_id, result, worker_id)
        assert written == CODECS[encoding].encode(Response(request_id, True, result, None, worker_id))
        head, tail = messages.around_data(request_id, worker_id)
        assert head + bytes(result) + tail == written


@encodings
def test_kept_names_are_bounded_and_dropped_beyond(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frequent, "WRITTEN_COUNT_MAX", 3)
    messages = FrequentMessages(encoding)
    null = raw(encoding, None)
    for number in range(10):
        name = f"name-{number}"
        success = msgspec.convert(_decoded(encoding, messages.success("r", null, name)), dict)
        assert success["processed_by"] == name
        assignment = _decoded(encoding, messages.assignment("1", 0.0, name, null, 1.0, "r"))
        assert assignment["data"]["action"] == name
        assert len(messages._workers) == len(messages._actions) == number % 3 + 1


def _decoded(encoding: Encoding, message: bytes) -> dict[str, dict[str, object]]:
    library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
    decoded: dict[str, dict[str, object]] = library.decode(message)
    return decoded
