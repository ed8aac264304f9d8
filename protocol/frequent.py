"""The two messages that every request costs the broker, built from prepared parts: the assignment and the success.

Both encodings write a structure as its values with fixed bytes between them, and most values recur: their encoded form
is kept. The result equals codec.py's `encode` of `AssignmentMessage` and `Response`, which the tests compare, in half
the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from .codec import CODECS
from .encodings import Encoding

WRITTEN_COUNT_MAX: Final = 10_000
"""Encoded names kept, of commands and of workers each; all are dropped when there would be more. As many as the broker
knows commands."""

TIMESTAMP_STEPS_PER_S: Final = 100
"""Timestamps are for people: they advance in hundredths of a second, so that few need encoding."""

_NOTHING: Final = Raw(b"")


@dataclass(frozen=True, slots=True)
class _Glue:
    """The fixed bytes before each value, in the order of the message, and those at the end."""

    before_msg_id: bytes
    before_timestamp: bytes
    before_action: bytes
    before_params: bytes
    before_timeout: bytes
    before_request_id: bytes
    assignment_end: bytes
    before_responses_id: bytes
    before_data: bytes
    before_processed_by: bytes
    success_end: bytes


_GLUE: Final = {
    Encoding.JSON: _Glue(
        before_msg_id=b'{"type":"request","msg_id":',
        before_timestamp=b',"timestamp":',
        before_action=b',"data":{"action":',
        before_params=b',"params":',
        before_timeout=b',"timeout":',
        before_request_id=b',"request_id":',
        assignment_end=b"}}",
        before_responses_id=b'{"request_id":',
        before_data=b',"success":true,"data":',
        before_processed_by=b',"error":null,"processed_by":',
        success_end=b"}",
    ),
    # A map says how many pairs it has (0x84: four), a short text how long it is (0xa4: four bytes).
    Encoding.MSGPACK: _Glue(
        before_msg_id=b"\x84\xa4type\xa7request\xa6msg_id",
        before_timestamp=b"\xa9timestamp",
        before_action=b"\xa4data\x84\xa6action",
        before_params=b"\xa6params",
        before_timeout=b"\xa7timeout",
        before_request_id=b"\xaarequest_id",
        assignment_end=b"",
        before_responses_id=b"\x85\xaarequest_id",
        before_data=b"\xa7success\xc3\xa4data",
        before_processed_by=b"\xa5error\xc0\xacprocessed_by",
        success_end=b"",
    ),
}


class FrequentMessages:
    """Writes both messages in one encoding, for all connections of a broker."""

    __slots__ = (
        "_actions",
        "_before_data",
        "_before_msg_id",
        "_before_responses_id",
        "_encode",
        "_end",
        "_glue",
        "_timeout_part",
        "_timeout_s",
        "_timestamp_part",
        "_timestamp_step",
        "_workers",
    )

    def __init__(self, encoding: Encoding) -> None:
        self._encode: Callable[[object], bytes] = CODECS[encoding].encode
        self._glue = _GLUE[encoding]
        self._before_msg_id = self._glue.before_msg_id
        self._before_responses_id = self._glue.before_responses_id
        self._before_data = self._glue.before_data
        self._end = self._glue.assignment_end
        self._actions: dict[str, bytes] = {}
        self._workers: dict[str, bytes] = {}
        self._timeout_s = -1.0
        self._timeout_part = b""
        self._timestamp_step = -1
        self._timestamp_part = b""

    def assignment(  # noqa: PLR0917  names would cost the hot path
        self, msg_id: str, timestamp: float, action: str, params: Raw, timeout_s: float, request_id: str
    ) -> bytes:
        """An `AssignmentMessage` without a trace; `timestamp` in seconds since 1970, finite."""
        if int(timestamp * TIMESTAMP_STEPS_PER_S) != self._timestamp_step:
            self._write_timestamp(timestamp)
        if timeout_s != self._timeout_s:
            self._write_timeout(timeout_s)
        action_part = self._actions.get(action)
        if action_part is None:
            action_part = self._written(self._actions, action, b"", self._glue.before_params)
        encode = self._encode
        return b"".join(
            (
                self._before_msg_id,
                encode(msg_id),
                self._timestamp_part,
                action_part,
                params,
                self._timeout_part,
                encode(request_id),
                self._end,
            )
        )

    def around_params(
        self, msg_id: str, timestamp: float, action: str, timeout_s: float, request_id: str
    ) -> tuple[bytes, bytes]:
        """The bytes of an `assignment` before and after its `params`."""
        whole = self.assignment(msg_id, timestamp, action, _NOTHING, timeout_s, request_id)
        at = len(whole) - len(self._timeout_part) - len(self._encode(request_id)) - len(self._end)
        return whole[:at], whole[at:]

    def success(self, request_id: str, data: Raw, worker_id: str) -> bytes:
        """A `Response` to a request that `worker_id` has answered with `data`."""
        worker_part = self._workers.get(worker_id)
        if worker_part is None:
            before, after = self._glue.before_processed_by, self._glue.success_end
            worker_part = self._written(self._workers, worker_id, before, after)
        return b"".join(
            (self._before_responses_id, self._encode(request_id), self._before_data, data, worker_part)
        )

    def around_data(self, request_id: str, worker_id: str) -> tuple[bytes, bytes]:
        """The bytes of a `success` before and after its `data`."""
        whole = self.success(request_id, _NOTHING, worker_id)
        at = len(whole) - len(self._workers[worker_id])
        return whole[:at], whole[at:]

    def _write_timestamp(self, timestamp: float) -> None:
        step = self._timestamp_step = int(timestamp * TIMESTAMP_STEPS_PER_S)
        text = self._encode(step / TIMESTAMP_STEPS_PER_S)
        self._timestamp_part = self._glue.before_timestamp + text + self._glue.before_action

    def _write_timeout(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        text = self._encode(timeout_s)
        self._timeout_part = self._glue.before_timeout + text + self._glue.before_request_id

    def _written(self, kept: dict[str, bytes], text: str, before: bytes, after: bytes) -> bytes:
        if len(kept) >= WRITTEN_COUNT_MAX:
            kept.clear()
        part = kept[text] = before + self._encode(text) + after
        return part
