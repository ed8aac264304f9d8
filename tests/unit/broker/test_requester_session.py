"""What a requester says becomes calls of the core, and what the core answers becomes messages."""

import time

import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX

from tests.unit.broker.shell import MESSAGE_SIZE_BYTES_MAX, open_shell
from tests.unit.transport.waiting import until

DATA_SIZE_BYTES_MAX = MESSAGE_SIZE_BYTES_MAX - ENVELOPE_SIZE_BYTES_MAX


@pytest.mark.parametrize("worker_encoding", Encoding)
@pytest.mark.parametrize("requester_encoding", Encoding)
async def test_data_and_result_travel_between_both_encodings(
    requester_encoding: Encoding, worker_encoding: Encoding
) -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(worker_encoding), await shell.requester(requester_encoding)
        requester.send({"request_id": "r1", "command": "work", "data": {"a": [1, "ü"]}, "timeout": 5})
        assignment = await worker.receive()
        assert assignment["data"]["action"] == "work"
        assert assignment["data"]["params"] == {"a": [1, "ü"]}
        assert assignment["data"]["request_id"] == "r1"
        assert 0 < assignment["data"]["timeout"] <= 5
        result = {"success": True, "result": [None, 2.5]}
        worker.send({"type": "response", "msg_id": assignment["msg_id"], "data": result})
        response = await requester.receive()
        assert (response["request_id"], response["success"], response["data"]) == ("r1", True, [None, 2.5])
        assert response["processed_by"].startswith("worker-")


async def test_a_deadline_is_kept_though_nothing_more_is_said() -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        await shell.worker()
        began_at = time.monotonic()
        requester.send({"request_id": "r1", "command": "work", "timeout": 0.05})
        failure = await requester.receive()
        assert failure["code"] == "timeout"
        assert time.monotonic() - began_at >= 0.05


BAD = {
    "no JSON": (b'{"request_id": "r1"', None, "bad_request"),
    "no command": (b'{"request_id": "r1"}', "r1", "bad_request"),
    "an unknown type": (b'{"request_id": "r1", "type": "order"}', "r1", "bad_request"),
    "a timeout that is none": (b'{"request_id": "r1", "command": "a", "timeout": -1}', "r1", "bad_request"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_cannot_be_submitted_is_refused_and_counted(name: str) -> None:
    payload, request_id, code = BAD[name]
    async with open_shell() as shell:
        requester = await shell.requester()
        requester.link.send(payload)
        failure = await requester.receive()
        assert (failure["request_id"], failure["code"]) == (request_id, code)
        assert shell.core.counts.refused == {code: 1}
        assert shell.core.counts.in_flight_count == 0


async def test_a_message_of_the_wrong_kind_is_refused_and_the_next_one_is_read() -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        (session,) = shell.requesters.sessions
        session.wrong_kind_received()
        failure = await requester.receive()
        assert failure["code"] == "bad_request"
        assert "takes text frames only" in failure["error"]
        requester.send({"type": "ping", "request_id": "p"})
        assert await requester.receive() == {"type": "pong", "request_id": "p"}


async def test_data_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"request_id": "r1", "command": "work", "data": "x" * (DATA_SIZE_BYTES_MAX - 2)})
        assert len((await worker.receive())["data"]["params"]) == DATA_SIZE_BYTES_MAX - 2
        requester.send({"request_id": "r2", "command": "work", "data": "x" * (DATA_SIZE_BYTES_MAX - 1)})
        failure = await requester.receive()
        assert (failure["request_id"], failure["code"]) == ("r2", "too_large")
        assert shell.core.counts.refused == {"too_large": 1}


async def test_a_result_that_is_too_large_fails_its_request() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"request_id": "r1", "command": "work"})
        msg_id = (await worker.receive())["msg_id"]
        result = {"success": True, "result": "x" * DATA_SIZE_BYTES_MAX}
        worker.send({"type": "response", "msg_id": msg_id, "data": result})
        failure = await requester.receive()
        assert (failure["request_id"], failure["code"]) == ("r1", "too_large")


async def test_a_cancelled_request_is_answered_and_its_worker_notified() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        requester.send({"request_id": "r1", "command": "work"})
        msg_id = (await worker.receive())["msg_id"]
        requester.send({"type": "cancel", "request_id": "r1"})
        assert (await requester.receive())["code"] == "cancelled"
        notice = await worker.receive()
        assert (notice["type"], notice["msg_id"]) == ("cancel", msg_id)


async def test_a_requester_that_leaves_takes_its_requests_with_it() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(), await shell.requester()
        assert len(shell.requesters.sessions) == 1
        requester.send({"request_id": "r1", "command": "work"})
        await worker.receive()
        requester.link.close()
        notice = await worker.receive()
        assert (notice["type"], notice["data"]) == ("cancel", {"reason": "requester_gone"})
        assert shell.core.counts.in_flight_count == 0
        assert not shell.requesters.sessions
        assert not shell.core.requesters


async def test_a_session_closes_behind_what_it_has_said() -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        requester.send({"request_id": "r1", "command": "unserved"})
        await until(lambda: shell.core.counts.submitted_count)
        (session,) = shell.requesters.sessions
        session.close(1012, "broker is going away")
        assert (await requester.receive())["code"] == "no_available_workers"
        assert await requester.closed() == "closed by peer: 1012 (service restart) broker is going away"
