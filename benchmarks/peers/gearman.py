"""Requesters and workers of the load on gearmand, in Gearman's binary protocol (gearmand's PROTOCOL file).

They use what an echo needs: foreground jobs, and workers that request several jobs at once and sleep if there are none.
"""

from abc import abstractmethod
from enum import IntEnum
from secrets import token_hex

from ..connection import Connection
from ..load import IN_FLIGHT_COUNT_PER_REQUESTER, Load
from ..request_stream import Lanes, RequestStream

_HEAD_BYTES = 12
_LANE_DIGITS = 8
_HANDLE_BYTES_MAX = 64
# Jobs that a worker requests at once: a single one costs gearmand three times as much, four times as many save nothing.
GRAB_COUNT = 16


class Kind(IntEnum):
    """The packets that an echo needs, with their numbers in the protocol."""

    CAN_DO = 1
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_COMPLETE = 13
    ECHO_REQ = 16
    ECHO_RES = 17
    ERROR = 19


def packet(kind: Kind, payload: bytes = b"") -> bytes:
    """One request packet."""
    return b"\0REQ" + kind.to_bytes(4, "big") + len(payload).to_bytes(4, "big") + payload


class GearmanConnection(Connection):
    """A connection that cuts incoming data into packets."""

    __slots__ = ()

    @abstractmethod
    def take_packet(self, kind: int, buffer: bytearray, start: int, end: int) -> None:
        """One packet of `kind` with the payload buffer[start:end]."""

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0
        while end - position >= _HEAD_BYTES:
            start = position + _HEAD_BYTES
            after = start + int.from_bytes(buffer[position + 8 : start], "big")
            if after > end:
                return position
            kind = int.from_bytes(buffer[position + 4 : position + 8], "big")
            if kind == Kind.ERROR:
                self.fail(f"gearmand: {bytes(buffer[start:after])!r}")
                return end
            self.take_packet(kind, buffer, start, after)
            position = after
        return position


class GearmanRequester(GearmanConnection):
    """A requester with IN_FLIGHT_COUNT_PER_REQUESTER jobs `echo` in flight; their data begins with their lane."""

    __slots__ = ("_answer_bytes", "_lanes")

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._answer_bytes = _LANE_DIGITS + len(load.data)
        # gearmand merges jobs of the same unique key, and has to make a key if there is none.
        stem = token_hex(8)
        messages = [
            packet(
                Kind.SUBMIT_JOB, b"echo\0%b%d\0%0*d%b" % (stem.encode(), lane, _LANE_DIGITS, lane, load.data)
            )
            for lane in range(IN_FLIGHT_COUNT_PER_REQUESTER)
        ]
        self._lanes = Lanes(messages, stream)

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def greet(self) -> None:
        self.send(packet(Kind.ECHO_REQ))

    def take_packet(self, kind: int, buffer: bytearray, start: int, end: int) -> None:
        match kind:
            case Kind.WORK_COMPLETE:
                data_start = buffer.find(b"\0", start, min(end, start + _HANDLE_BYTES_MAX)) + 1
                if end - data_start != self._answer_bytes:
                    self.fail("a request was not answered with its data")
                    return
                message = self._lanes.answered(int(buffer[data_start : data_start + _LANE_DIGITS]))
                if message is not None:
                    self.send(message)
            case Kind.JOB_CREATED:
                return
            case Kind.ECHO_RES:
                self.welcomed()
            case _:
                self.fail(f"gearmand sent a requester a packet of type {kind}")


class GearmanWorker(GearmanConnection):
    """A worker that requests GRAB_COUNT jobs at once and answers each with its lane and the load's data."""

    __slots__ = ("_data", "_unanswered_count")

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)
        self._data = load.data
        self._unanswered_count = 0

    def greet(self) -> None:
        self.send(packet(Kind.CAN_DO, b"echo") + packet(Kind.ECHO_REQ))

    def take_packet(self, kind: int, buffer: bytearray, start: int, end: int) -> None:
        match kind:
            case Kind.JOB_ASSIGN:
                handle_end = buffer.find(b"\0", start, min(end, start + _HANDLE_BYTES_MAX)) + 1
                data_start = buffer.find(b"\0", handle_end, end) + 1
                handle = bytes(buffer[start:handle_end])
                lane = bytes(buffer[data_start : data_start + _LANE_DIGITS])
                # In one write even in mode `each`, as in Gearman's own workers.
                self.send(packet(Kind.WORK_COMPLETE, handle + lane + self._data) + _GRAB)
            case Kind.NO_JOB:
                self._unanswered_count -= 1
                if self._unanswered_count == 0:
                    self.send(_SLEEP)
            case Kind.NOOP:
                # gearmand sends it for every new job, even to a worker that has requested more by then.
                if self._unanswered_count == 0:
                    self._unanswered_count = GRAB_COUNT
                    self.send(_GRAB * GRAB_COUNT)
            case Kind.ECHO_RES:
                self.welcomed()
                self.send(_SLEEP)
            case _:
                self.fail(f"gearmand sent a worker a packet of type {kind}")


_GRAB = packet(Kind.GRAB_JOB)
_SLEEP = packet(Kind.PRE_SLEEP)
