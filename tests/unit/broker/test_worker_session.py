"""What a worker says becomes calls of the core, and what the core wants of it becomes messages."""

import logging
import time

import pytest
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.protocol import limits
from taskferry.protocol.encodings import Encoding
from taskferry.transport.link import SUSPICION_S
from taskferry.transport.settings import LinkSettings

from tests.unit.broker.shell import MESSAGE_SIZE_BYTES_MAX, Peer, Shell, open_shell
from tests.unit.transport.waiting import until


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [type(record.msg).__name__ for record in caplog.records]


async def assigned(shell: Shell, worker: Peer) -> tuple[Peer, str]:
    """A requester, and the msg_id of its request at `worker`."""
    requester = await shell.requester()
    requester.send({"request_id": "r1", "command": "work", "timeout": 30})
    return requester, (await worker.receive())["msg_id"]


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_worker_is_welcomed_under_its_name(encoding: Encoding) -> None:
    async with open_shell() as shell:
        peer = await shell.worker_connection(encoding)
        peer.send({"type": "connect", "msg_id": "m", "data": {"commands": ["work"], "name": "w1"}})
        welcome = await peer.receive()
        assert (welcome["type"], welcome["msg_id"]) == ("connect", "m")
        assert welcome["data"]["worker_id"] == "w1"
        assert welcome["data"]["message_size_bytes_max"] == MESSAGE_SIZE_BYTES_MAX
        assert welcome["data"]["broker"] == "taskferry/test"
        (session,) = shell.workers.sessions
        assert session.worker is shell.core.roster.workers["w1"]


async def test_a_worker_that_begins_with_anything_else_is_rejected() -> None:
    async with open_shell() as shell:
        peer = await shell.worker_connection()
        peer.send({"type": "heartbeat", "msg_id": "h"})
        peer.send({"type": "connect", "data": {"commands": ["work"]}})
        error = await peer.receive()
        assert (error["type"], error["msg_id"], error["data"]["code"]) == ("error", "h", "bad_message")
        assert (await peer.closed()).startswith("closed by peer: 1008")
        assert len(peer.recorder.messages) == 1, "what it said afterwards does not count"
        assert not shell.core.roster.workers
        await until(lambda: not shell.workers.sessions)


async def test_what_a_worker_declares_of_its_commands_must_be_among_them() -> None:
    async with open_shell() as shell:
        peer = await shell.worker_connection()
        for field, value, text in (
            ("canary", "d", "data.canary: 'd' is not among its commands"),
            ("places", {"commands": ["c", "d"], "count": 1}, "data.places: 'd' is not among its commands"),
        ):
            peer.send({"type": "connect", "data": {"commands": ["c"], field: value}})
            error = await peer.receive()
            assert (error["data"]["code"], error["data"]["error"]) == ("bad_message", text)
        places = {"commands": ["c"], "count": 3}
        peer.send({"type": "connect", "data": {"commands": ["c", "d"], "name": "w1", "places": places}})
        assert (await peer.receive())["type"] == "connect"
        worker = shell.core.roster.workers["w1"]
        assert (worker.slots_for("c"), worker.slots_for("d")) == (1, 1)
        assert worker.places is not None
        assert (worker.places.count_max, worker.needs_place_for("c"), worker.needs_place_for("d")) == (
            3,
            True,
            False,
        )


async def test_a_worker_that_never_says_connect_is_rejected_once_its_time_is_up() -> None:
    async with open_shell() as shell:
        peer = await shell.worker_connection()
        (session,) = shell.workers.sessions
        session.check(time.monotonic() + limits.HANDSHAKE_S_MAX - 1)
        peer.send({"type": "nonsense"})
        assert (await peer.receive())["data"]["code"] == "bad_message"
        session.check(time.monotonic() + limits.HANDSHAKE_S_MAX)
        session.check(time.monotonic() + limits.HANDSHAKE_S_MAX + 1)
        error = await peer.receive()
        assert error["data"]["error"] == "connect: not sent within 10 s"
        assert (await peer.closed()).startswith("closed by peer: 1008")
        assert len(peer.recorder.messages) == 2


async def test_a_silent_link_is_reported_to_the_core_until_it_speaks_again() -> None:
    async with open_shell() as shell:
        await shell.worker()
        peer = await shell.worker(name="w1")
        worker = shell.core.roster.workers["w1"]
        session = next(session for session in shell.workers.sessions if session.worker is worker)
        now = time.monotonic()
        ping_s = LinkSettings().heartbeat_interval_s
        states = []
        for at in (now, now + ping_s, now + ping_s + SUSPICION_S):
            session.link.check(at)
            session.check(at)
            states.append(worker.state)
        assert states == [WorkerState.HEALTHY, WorkerState.HEALTHY, WorkerState.SUSPECT]
        heard_count = shell.workers.counts.received_count
        peer.send({"type": "heartbeat"})
        await until(lambda: shell.workers.counts.received_count > heard_count)
        session.link.check(now + ping_s + SUSPICION_S + 1)
        session.check(now + ping_s + SUSPICION_S + 1)
        states.append(worker.state)
        assert states[-1] is WorkerState.HEALTHY


async def test_a_worker_that_connects_again_replaces_its_old_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    async with open_shell() as shell:
        old = await shell.worker(name="w1", instance="i1")
        before = shell.core.roster.workers["w1"]
        new = await shell.worker(name="w1", instance="i1")
        await old.closed()
        await until(lambda: len(shell.workers.sessions) == 1)
        (session,) = shell.workers.sessions
        assert session.worker is shell.core.roster.workers["w1"] is not before
        assert "WorkerLeft" not in events(caplog), "it is still there"
        _, msg_id = await assigned(shell, new)
        assert msg_id


@pytest.mark.parametrize(("first", "second"), [("i1", "i2"), ("", ""), (None, "")])
async def test_another_worker_of_the_same_name_is_rejected(first: str | None, second: str) -> None:
    async with open_shell() as shell:
        await shell.worker(name="w1", instance=first)
        other = await shell.worker_connection()
        other.send({"type": "connect", "data": {"commands": ["work"], "name": "w1", "instance": second}})
        assert (await other.receive())["data"]["code"] == "worker_id_taken"
        await other.closed()
        assert list(shell.core.roster.workers) == ["w1"]


async def test_a_lost_worker_fails_what_it_had(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    async with open_shell() as shell:
        worker = await shell.worker(name="w1")
        requester, _ = await assigned(shell, worker)
        worker.link.abort("gone")
        failure = await requester.receive()
        assert (failure["code"], failure["processed_by"]) == ("worker_lost", "w1")
        assert events(caplog).count("WorkerLeft") == 1
        assert not shell.workers.sessions
        assert not shell.core.roster.workers


async def test_a_response_to_no_assignment_is_answered_with_an_error() -> None:
    async with open_shell() as shell:
        worker = await shell.worker()
        worker.send({"type": "response", "msg_id": "77", "data": {"success": True, "result": 1}})
        error = await worker.receive()
        assert (error["msg_id"], error["data"]["code"]) == ("77", "unknown_assignment")


async def test_a_worker_that_says_disconnect_drains() -> None:
    async with open_shell() as shell:
        worker = await shell.worker(name="w1")
        requester, msg_id = await assigned(shell, worker)
        worker.send({"type": "disconnect", "msg_id": "d"})
        assert (await worker.receive())["msg_id"] == "d"
        assert shell.core.roster.workers["w1"].state is WorkerState.DRAINING
        worker.send({"type": "response", "msg_id": msg_id, "data": {"success": True, "result": 1}})
        assert (await requester.receive())["success"]


async def test_goodbye_says_disconnect_and_closes() -> None:
    async with open_shell() as shell:
        worker = await shell.worker()
        (session,) = shell.workers.sessions
        session.say_goodbye("broker is going away")
        goodbye = await worker.receive()
        assert (goodbye["type"], goodbye["data"]) == ("disconnect", {"reason": "broker is going away"})
        assert await worker.closed() == "closed by peer: 1012 (service restart) broker is going away"
