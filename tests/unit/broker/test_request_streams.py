"""Streams over real links: what a requester is sent before its response, and what a worker may send."""

import asyncio
from typing import Any

import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import (
    ENVELOPE_SIZE_BYTES_MAX,
    PROGRESS_SIZE_BYTES_MAX,
    STREAM_CHUNKS_COUNT_MAX,
    STREAM_SIZE_BYTES_MAX,
)

from tests.unit.broker.shell import MESSAGE_SIZE_BYTES_MAX, Peer, Shell, open_shell
from tests.unit.transport.waiting import until

CHUNK_SIZE_BYTES = 32 * 1024
FLOOD_SIZE_BYTES = 64 * 1024 * 1024
"""More than the buffers of a connection hold."""


async def begin(shell: Shell, worker: Peer, requester: Peer, **fields: Any) -> str:
    """Send a request; the msg_id of its assignment, which says that chunks are wanted."""
    requester.send({"request_id": "r1", "command": "work", "timeout": 60, "stream": True, **fields})
    assignment = await worker.receive()
    assert assignment["data"]["stream"] is True
    return str(assignment["msg_id"])


def chunk(worker: Peer, msg_id: str, sequence: int, data: object) -> None:
    worker.send({"type": "chunk", "msg_id": msg_id, "sequence": sequence, "data": data})


def report(worker: Peer, msg_id: str, progress: object) -> None:
    worker.send({"type": "notification", "msg_id": msg_id, "data": progress})


def respond(worker: Peer, msg_id: str, result: object = None) -> None:
    worker.send({"type": "response", "msg_id": msg_id, "data": {"success": True, "result": result}})


async def credited(worker: Peer, msg_id: str, sequence: int) -> None:
    """Wait until all chunks up to this one are taken."""
    known = 0
    while known < sequence:
        message = await worker.receive()
        assert (message["type"], message["msg_id"]) == ("credit", msg_id)
        assert message["data"]["sequence"] > known
        known = message["data"]["sequence"]
    assert known == sequence


@pytest.mark.parametrize("worker_encoding", Encoding)
@pytest.mark.parametrize("requester_encoding", Encoding)
async def test_chunks_and_progress_travel_between_both_encodings(
    requester_encoding: Encoding, worker_encoding: Encoding
) -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(worker_encoding), await shell.requester(requester_encoding)
        msg_id = await begin(shell, worker, requester)
        large = {"text": "ü" * 3000, "result": [1]}
        report(worker, msg_id, {"progress": 0.5})
        for sequence, data in enumerate((["a", 1], large, "x" * CHUNK_SIZE_BYTES), 1):
            chunk(worker, msg_id, sequence, data)
        await credited(worker, msg_id, 3)
        respond(worker, msg_id, "end")
        head = {"request_id": "r1", "attempt": 1}
        assert [await requester.receive() for _ in range(4)] == [
            {"type": "progress", **head, "sequence": 0, "data": {"progress": 0.5}},
            {"type": "chunk", **head, "sequence": 1, "data": ["a", 1]},
            {"type": "chunk", **head, "sequence": 2, "data": large},
            {"type": "chunk", **head, "sequence": 3, "data": "x" * CHUNK_SIZE_BYTES},
        ]
        assert (await requester.receive())["data"] == "end"


async def test_by_credit_a_chunk_is_taken_when_the_requester_says_so() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester, stream="credit")
        for sequence in (1, 2, 3):
            chunk(worker, msg_id, sequence, sequence)
        for sequence in (1, 2, 3):
            assert (await requester.receive())["sequence"] == sequence
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.receive(), 0.1)
        requester.send({"type": "credit", "request_id": "r1", "sequence": 2})
        assert (await worker.receive())["data"] == {"sequence": 2}
        requester.send({"type": "credit", "request_id": "r1", "sequence": 3, "attempt": 2})
        requester.send({"type": "credit", "request_id": "unknown", "sequence": 3})
        requester.send({"type": "credit", "request_id": "r1", "sequence": 9, "attempt": 1})
        assert (await worker.receive())["data"] == {"sequence": 3}


async def test_credit_for_what_does_not_wait_for_it_changes_nothing() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"type": "credit", "request_id": "r1", "sequence": 1})
        msg_id = await begin(shell, worker, requester)
        requester.send({"type": "credit", "request_id": "r1", "sequence": 1})
        requester.send({"type": "ping", "request_id": "p"})
        assert (await requester.receive())["type"] == "pong"
        chunk(worker, msg_id, 1, "a")
        await credited(worker, msg_id, 1)


async def test_only_progress_is_sent_if_only_that_is_wanted() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"request_id": "r1", "command": "work", "stream": "progress"})
        assignment = await worker.receive()
        assert "stream" not in assignment["data"]
        chunk(worker, assignment["msg_id"], 1, "ignored")
        report(worker, assignment["msg_id"], {"progress": 1})
        assert (await requester.receive())["data"] == {"progress": 1}


async def test_nothing_is_sent_to_a_requester_that_did_not_ask() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(concurrency=2), await shell.requester()
        requester.send({"request_id": "r1", "command": "work"})
        msg_id = (await worker.receive())["msg_id"]
        report(worker, msg_id, {"progress": 1})
        other = await begin(shell, worker, requester, request_id="r2")
        report(worker, msg_id, {"progress": 1})
        respond(worker, msg_id)
        assert (await requester.receive())["success"]
        respond(worker, other)
        assert (await requester.receive())["request_id"] == "r2"


async def test_a_worker_that_oversteps_the_window_is_answered_and_its_request_fails() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester, stream="credit")
        for sequence in range(1, STREAM_CHUNKS_COUNT_MAX + 2):
            chunk(worker, msg_id, sequence, sequence)
        messages = [await requester.receive() for _ in range(STREAM_CHUNKS_COUNT_MAX + 1)]
        assert [message.get("sequence") for message in messages] == [
            *range(1, STREAM_CHUNKS_COUNT_MAX + 1),
            None,
        ]
        assert messages[-1]["code"] == "handler_error"
        assert "STREAM_CHUNKS_COUNT_MAX" in messages[-1]["error"]
        cancel, complaint = await worker.receive(), await worker.receive()
        assert (cancel["type"], cancel["msg_id"]) == ("cancel", msg_id)
        assert (complaint["type"], complaint["msg_id"]) == ("error", msg_id)
        assert complaint["data"]["code"] == "bad_message"
        respond(worker, msg_id)
        await begin(shell, worker, requester, request_id="r2")  # in the slot that is free again


async def test_a_chunk_over_its_bound_fails_its_request() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester)
        bound = MESSAGE_SIZE_BYTES_MAX - ENVELOPE_SIZE_BYTES_MAX
        chunk(worker, msg_id, 1, "x" * (bound - 2))
        assert (await requester.receive())["sequence"] == 1
        await credited(worker, msg_id, 1)
        chunk(worker, msg_id, 2, "x" * (bound - 1))
        failure = await requester.receive()
        assert (failure["code"], failure["processed_by"] is not None) == ("too_large", True)
        assert {(await worker.receive())["type"] for _ in range(2)} == {"cancel", "error"}


async def test_what_json_cannot_hold_fails_as_a_chunk_and_is_left_out_as_progress() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(Encoding.MSGPACK), await shell.requester(Encoding.JSON)
        msg_id = await begin(shell, worker, requester)
        report(worker, msg_id, float("nan"))
        report(worker, msg_id, 0.5)
        assert (await requester.receive())["data"] == 0.5
        chunk(worker, msg_id, 1, float("nan"))
        assert (await requester.receive())["code"] == "not_representable"
        assert (await worker.receive())["type"] == "cancel"


async def test_a_chunk_that_is_too_large_in_the_requesters_encoding_fails_its_request() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(Encoding.MSGPACK), await shell.requester(Encoding.JSON)
        msg_id = await begin(shell, worker, requester)
        chunk(worker, msg_id, 1, [-100] * 20_000)
        assert (await requester.receive())["code"] == "too_large"


async def test_a_duplicate_does_not_end_the_stream_of_the_first() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester)
        requester.send({"request_id": "r1", "command": "work", "stream": True})
        assert (await requester.receive())["code"] == "duplicate_request_id"
        chunk(worker, msg_id, 1, "a")
        assert (await requester.receive())["data"] == "a"
        await credited(worker, msg_id, 1)
        respond(worker, msg_id)
        assert (await requester.receive())["success"]
        await begin(shell, worker, requester)  # the id is free again


async def test_progress_that_is_not_passed_on_yet_gives_way_to_what_is_newer() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester)
        for number in range(100):
            report(worker, msg_id, number)
        last = -1
        count = 0
        while last < 99:
            message = await requester.receive()
            assert message["data"] > last
            last = message["data"]
            count += 1
        assert count < 100
        respond(worker, msg_id)
        assert (await requester.receive())["success"]


async def test_the_last_progress_is_sent_before_the_response() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        for result in ({"success": True, "result": 1}, {"success": False, "error": "no"}):
            msg_id = await begin(shell, worker, requester)
            for number in range(100):
                report(worker, msg_id, number)
            worker.send({"type": "response", "msg_id": msg_id, "data": result})
            last = -1
            while "success" not in (message := await requester.receive()):
                assert message["data"] > last
                last = message["data"]
            assert (last, message["success"]) == (99, result["success"])


async def test_progress_over_its_bound_is_refused() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester)
        report(worker, msg_id, "x" * (PROGRESS_SIZE_BYTES_MAX - 2))
        assert (await requester.receive())["type"] == "progress"
        report(worker, msg_id, "x" * (PROGRESS_SIZE_BYTES_MAX - 1))
        assert (await worker.receive())["data"]["code"] == "bad_message"


async def test_a_lost_worker_resets_the_stream_of_what_may_run_again() -> None:
    async with open_shell() as shell:
        first, requester = await shell.worker(name="a"), await shell.requester()
        msg_id = await begin(shell, first, requester, idempotent=True)
        chunk(first, msg_id, 1, "a")
        report(first, msg_id, 0.5)
        for kind in ("chunk", "progress"):
            assert (await requester.receive())["type"] == kind
        second = await shell.worker(name="b")
        first.link.abort("lost")
        assert await requester.receive() == {"type": "reset", "request_id": "r1", "attempt": 2}
        msg_id = (await second.receive())["msg_id"]
        chunk(second, msg_id, 1, "b")
        message = await requester.receive()
        assert (message["attempt"], message["sequence"], message["data"]) == (2, 1, "b")
        await credited(second, msg_id, 1)


async def test_what_has_no_stream_is_run_again_without_a_word() -> None:
    async with open_shell() as shell:
        first, requester = await shell.worker(name="a"), await shell.requester()
        requester.send({"request_id": "r1", "command": "work", "idempotent": True})
        await first.receive()
        second = await shell.worker(name="b")
        first.link.abort("lost")
        respond(second, (await second.receive())["msg_id"])
        assert (await requester.receive())["success"]


async def test_a_requester_that_vanishes_stops_its_worker() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester, stream="credit")
        chunk(worker, msg_id, 1, "a")
        await requester.receive()
        requester.link.abort("gone")
        cancel = await worker.receive()
        assert (cancel["type"], cancel["data"]["reason"]) == ("cancel", "requester_gone")
        chunk(worker, msg_id, 2, "b")
        respond(worker, msg_id)
        again = await shell.requester()
        await begin(shell, worker, again)


async def test_a_cancel_in_the_middle_reaches_the_worker_and_nothing_follows_the_response() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        msg_id = await begin(shell, worker, requester, stream="credit")
        for sequence in range(1, STREAM_CHUNKS_COUNT_MAX + 1):
            chunk(worker, msg_id, sequence, sequence)
            await requester.receive()
        requester.send({"type": "cancel", "request_id": "r1"})
        assert (await requester.receive())["code"] == "cancelled"
        assert (await worker.receive())["data"]["reason"] == "cancelled"
        report(worker, msg_id, 1)
        chunk(worker, msg_id, STREAM_CHUNKS_COUNT_MAX + 1, "late")
        respond(worker, msg_id)
        other = await begin(shell, worker, requester, request_id="r2")
        respond(worker, other)
        assert (await requester.receive())["request_id"] == "r2"


class Sender:
    """A worker that sends as many chunks as it may: `sent_count`, of which `taken_count` are taken."""

    def __init__(self, worker: Peer, msg_id: str) -> None:
        self.worker = worker
        self.msg_id = msg_id
        self.sent_count = 0
        self.taken_count = 0

    async def send(self, count: int) -> None:
        while self.sent_count < count:
            while (self.sent_count - self.taken_count + 1) * (CHUNK_SIZE_BYTES + 2) > STREAM_SIZE_BYTES_MAX:
                await self._take()
            self.sent_count += 1
            chunk(self.worker, self.msg_id, self.sent_count, f"{self.sent_count:0{CHUNK_SIZE_BYTES}}")
            await asyncio.sleep(0)
        while self.taken_count < count:
            await self._take()

    async def _take(self) -> None:
        while True:
            message = await self.worker.receive()
            if message["type"] == "credit" and message["msg_id"] == self.msg_id:
                self.taken_count = message["data"]["sequence"]
                return


async def test_a_requester_that_does_not_read_stops_its_worker_and_loses_nothing() -> None:
    count = FLOOD_SIZE_BYTES // CHUNK_SIZE_BYTES
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        sender = Sender(worker, await begin(shell, worker, requester))
        requester.link._transport.pause_reading()
        sending = asyncio.create_task(sender.send(count))
        await until(lambda: shell.group.unsent_size_bytes)
        before = -1
        while before != sender.sent_count:
            before = sender.sent_count
            await asyncio.sleep(0.1)
        assert sender.sent_count < count
        assert shell.group.unsent_size_bytes <= STREAM_SIZE_BYTES_MAX + CHUNK_SIZE_BYTES
        requester.link._transport.resume_reading()
        for sequence in range(1, count + 1):
            message = await requester.receive()
            assert (message["sequence"], int(message["data"].lstrip("0"))) == (sequence, sequence)
        await sending


async def test_by_credit_a_slow_stream_holds_up_no_other_request_of_its_connection() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(concurrency=2), await shell.requester()
        msg_id = await begin(shell, worker, requester, stream="credit")
        for sequence in range(1, STREAM_CHUNKS_COUNT_MAX + 1):
            chunk(worker, msg_id, sequence, sequence)
            await requester.receive()
        other = await begin(shell, worker, requester, request_id="r2", stream="credit")
        for sequence in range(1, 4):
            chunk(worker, other, sequence, sequence)
            assert (await requester.receive())["request_id"] == "r2"
            requester.send({"type": "credit", "request_id": "r2", "sequence": sequence})
            await credited(worker, other, sequence)
