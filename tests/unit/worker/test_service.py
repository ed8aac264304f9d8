"""A worker in service: how it connects, comes back, is refused, drains and stops."""

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from taskferry.protocol import limits as wire_limits
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import BadMessage, CannotConnect
from taskferry.worker import Worker, service
from taskferry.worker import limits as worker_limits

from tests.unit.worker.fake_broker import PATIENCE_S, FakeBroker, refuse, welcome


class Napping:
    """A worker whose `nap` lasts until the test says otherwise."""

    def __init__(self, *, grace_s: float = 10.0, name: str | None = "napper") -> None:
        self.worker = Worker(name=name, grace_s=grace_s, concurrency=8)
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.worker.command("nap")(self.nap)

    async def nap(self) -> str:
        self.started.set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "rested"


@contextlib.asynccontextmanager
async def serving(worker: Worker, url: str) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(worker.serve(url))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(autouse=True)
def _info_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="taskferry.worker"):
        yield


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("taskferry.worker")]


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_the_first_message_says_who_it_is(encoding: Encoding, broker: FakeBroker) -> None:
    worker = Worker(
        name="w1", concurrency=3, weight=2.5, labels={"gpu": "yes"}, canary="a", encoding=encoding.value
    )
    worker.command("b")(lambda: None)
    worker.command("a", attempts=5, backoff=[1, 60])(lambda: None)
    async with broker.serve(worker) as connection:
        assert connection.link.encoding is encoding
        hello = connection.hello
        assert hello["type"] == "connect"
        data = hello["data"]
        assert len(data.pop("instance")) == 16
        assert data.pop("sdk").startswith("taskferry-python/")
        assert set(data.pop("device")) == {"host", "system", "python", "pid", "sdk"}
        assert data == {
            "name": "w1",
            "commands": ["b", "a"],
            "concurrency": 3,
            "weight": 2.5,
            "labels": {"gpu": "yes"},
            "canary": "a",
            "running": [],
            "defaults": {"a": {"attempts": 5, "backoff": [1.0, 60.0]}},
            "places": None,
        }


async def test_heartbeats_come_as_often_as_the_broker_wishes(broker: FakeBroker) -> None:
    broker.answer = lambda hello: welcome(hello, heartbeat_interval=0.05)
    async with broker.serve(Napping().worker) as connection:
        for _ in range(3):
            await connection.receive_type("heartbeat")
        connection.send({"type": "heartbeat", "msg_id": None, "timestamp": 0.0})


async def test_messages_that_make_no_sense_are_answered_and_the_link_lives_on(broker: FakeBroker) -> None:
    napping = Napping()
    async with broker.serve(napping.worker) as connection:
        connection.link.send(b"{")
        error = await connection.receive_type("error")
        assert error["data"]["code"] == "bad_message"
        assert error["data"]["error"].startswith("not valid JSON")
        connection.send({"type": "request", "msg_id": "m", "data": {"action": 1}})
        error = await connection.receive_type("error")
        assert error["msg_id"] == "m"
        connection.send({"type": "unheard of"})
        await connection.receive_type("error")
        connection.send(welcome(connection.hello))
        napping.may_end.set()
        assert await connection.result("nap") == "rested"


async def test_a_request_before_the_welcome_is_refused(broker: FakeBroker) -> None:
    broker.answer = lambda hello: None
    async with broker.serve(Napping().worker) as connection:
        connection.send_cancel("m")
        connection.send_request("nap")
        error = await connection.receive_type("error")
        assert error["data"]["error"] == "type: a request before the answer to connect"


async def test_a_port_that_is_not_a_worker_port_is_left_and_reported(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.answer = lambda hello: {"request_id": None, "success": False, "error": "command: missing"}
    async with serving(Napping().worker, broker.url):
        first = await broker.connection()
        await broker.connection()
    assert first.messages == []
    assert lines(caplog)[0] == (
        f"lost the connection to {broker.url}: "
        "that is the port of requesters; workers connect to another one, by default 8765; retrying"
    )


async def test_an_error_that_the_broker_reports_is_logged(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker.serve(Napping().worker) as connection:
        connection.send(refuse("unknown_assignment", "no such")(connection.hello))
        await connection.failure("unheard of")
    assert "the broker did not understand this worker: unknown_assignment: no such" in lines(caplog)


async def test_a_broker_that_does_not_answer_is_left(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wire_limits, "HANDSHAKE_S_MAX", 0.05)
    broker.answer = lambda hello: None
    async with serving(Napping().worker, broker.url):
        await broker.connection()
        await broker.connection()
    trouble = (
        f"lost the connection to {broker.url}: the broker did not answer connect within 0.05 s; retrying"
    )
    assert lines(caplog)[0] == trouble


# --- coming back ---


async def test_it_comes_back_under_the_same_name_and_instance(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    napping = Napping(name=None)
    async with serving(napping.worker, broker.url):
        first = await broker.connection()
        first.send_request("nap")
        await napping.started.wait()
        first.link.abort("gone")
        second = await broker.connection()
        await napping.cancelled.wait()
        assert second.hello["data"] == first.hello["data"]
        napping.may_end.set()
        assert await second.result("nap") == "rested"
        assert second.response_counts.total() == 1
    name = first.hello["data"]["name"]
    connected = f"connected to {broker.url} as {name} (slots: 8; commands: nap)"
    assert lines(caplog) == [
        connected,
        f"lost the connection to {broker.url}: connection lost; retrying",
        connected,
    ]


async def test_trouble_is_logged_once_until_it_changes(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: asyncio.Queue[None] = asyncio.Queue()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.put_nowait(None)
        writer.close()

    port = int(broker.url.rpartition(":")[2])
    broker.stop_listening()
    server = await asyncio.start_server(hang_up, "127.0.0.1", port)
    async with serving(Napping().worker, broker.url):
        for _ in range(3):
            await attempts.get()
        server.close()
        await broker.start(port)
        connection = await broker.connection()
        await connection.failure("unheard of")
    told = [line for line in lines(caplog) if "connection refused" not in line]  # between the two servers
    assert told[0].startswith(f"cannot connect to {broker.url}: connection lost")
    assert told[1].startswith("connected to")
    assert len(told) == 2


async def test_a_taken_name_is_logged_and_retried(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.answer = refuse("worker_id_taken", "somebody has it")
    broker.closes_after_answer = True
    async with serving(Napping().worker, broker.url):
        await broker.connection()
        await broker.connection()
        broker.answer = welcome
        broker.closes_after_answer = False
        async with asyncio.timeout(PATIENCE_S):
            while not any(line.startswith("connected") for line in lines(caplog)):
                await broker.connection()
                await asyncio.sleep(0.01)
    taken = f"another worker is connected to {broker.url} under the name napper; retrying"
    assert lines(caplog)[0] == taken
    assert lines(caplog).count(taken) == 1


async def test_any_other_refusal_is_logged_and_retried(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.answer = refuse("shutting_down", "not now")
    broker.closes_after_answer = True
    async with serving(Napping().worker, broker.url):
        await broker.connection()
        await broker.connection()
    assert (
        lines(caplog)[0]
        == f"the broker at {broker.url} refuses this worker: shutting_down: not now; retrying"
    )


async def test_a_worker_comes_back_when_the_broker_says(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.answer = refuse("rate_limited", "data.commands: too many are new", retry_after=0.3)
    broker.closes_after_answer = True
    loop = asyncio.get_running_loop()
    async with serving(Napping().worker, broker.url):
        came_at = []
        for _ in range(3):
            await broker.connection()
            came_at.append(loop.time())
    assert all(later - earlier > 0.29 for earlier, later in itertools.pairwise(came_at))
    refused = "refuses this worker: rate_limited: data.commands: too many are new; retrying"
    assert lines(caplog) == [f"the broker at {broker.url} {refused}"]


async def test_what_cannot_be_mended_is_raised(broker: FakeBroker) -> None:
    broker.answer = refuse("bad_message", "data.commands[0]: too ugly")
    broker.closes_after_answer = True
    with pytest.raises(BadMessage, match=r"refuses this worker: data.commands\[0\]: too ugly"):
        await Napping().worker.serve(broker.url)
    with pytest.raises(CannotConnect, match="'http://localhost' is not a URL of the form ws://HOST:PORT"):
        await Napping().worker.serve("http://localhost")
    with pytest.raises(ValueError, match="the worker has no commands"):
        await Worker().serve(broker.url)


async def test_a_worker_serves_one_broker_at_a_time(broker: FakeBroker) -> None:
    worker = Napping().worker
    async with broker.serve(worker):
        with pytest.raises(RuntimeError, match="already serving"):
            await worker.serve(broker.url)
    async with broker.serve(worker):
        pass


# --- leaving ---


async def test_drain_finishes_what_runs_takes_what_was_under_way_and_leaves(broker: FakeBroker) -> None:
    broker.answers_disconnect = False
    napping = Napping()
    async with serving(napping.worker, broker.url) as task:
        connection = await broker.connection()
        first = connection.send_request("nap")
        await napping.started.wait()
        napping.worker.drain()
        napping.worker.drain()
        disconnect = await connection.receive_type("disconnect")
        assert disconnect["data"] == {"reason": "worker is stopping"}
        second = connection.send_request("nap")
        connection.send_goodbye()
        napping.may_end.set()
        assert (await connection.response_to(first))["success"]
        assert (await connection.response_to(second))["success"]
        assert "1000" in await connection.closed
        await task
    assert broker.connection_count == 1


async def test_drain_without_an_answer_from_the_broker_ends_all_the_same(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_limits, "DISCONNECT_ANSWER_S_MAX", 0.05)
    broker.answers_disconnect = False
    worker = Napping().worker
    async with serving(worker, broker.url) as task:
        await broker.connection()
        worker.drain()
        await task


async def test_drain_ends_with_the_grace_and_leaves_the_rest_unanswered(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    napping = Napping(grace_s=0.1)
    async with serving(napping.worker, broker.url) as task:
        connection = await broker.connection()
        msg_id = connection.send_request("nap")
        await napping.started.wait()
        began_at = time.monotonic()
        napping.worker.drain()
        await task
        assert time.monotonic() - began_at >= 0.1
        await connection.closed
    assert napping.cancelled.is_set()
    assert connection.response_counts[msg_id] == 0
    assert "1 assignments did not finish within 0.1 s" in lines(caplog)


async def test_drain_while_there_is_no_broker_ends_at_once(broker: FakeBroker) -> None:
    worker = Napping().worker
    broker.stop_listening()
    for pause_s in (0.0, 0.05):
        async with serving(worker, broker.url) as task:
            await asyncio.sleep(pause_s)
            worker.drain()
            async with asyncio.timeout(1):
                await task
    worker.drain()


async def test_a_drain_ends_if_the_broker_goes_away_meanwhile(broker: FakeBroker) -> None:
    napping = Napping()
    async with serving(napping.worker, broker.url) as task:
        connection = await broker.connection()
        connection.send_request("nap")
        await napping.started.wait()
        napping.worker.drain()
        await connection.receive_type("disconnect")
        connection.link.abort("gone")
        async with asyncio.timeout(PATIENCE_S):
            await task
    assert broker.connection_count == 1


async def test_when_the_broker_leaves_what_runs_is_finished_and_the_worker_reconnects(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    napping = Napping()
    async with serving(napping.worker, broker.url):
        connection = await broker.connection()
        msg_id = connection.send_request("nap")
        await napping.started.wait()
        connection.send_goodbye("restarting")
        napping.may_end.set()
        assert (await connection.response_to(msg_id))["success"]
        connection.link.close(1012, "restarting")
        await broker.connection()
    assert "the broker is leaving: restarting" in lines(caplog)


async def test_cancelling_serve_stops_at_once_and_says_goodbye(broker: FakeBroker) -> None:
    napping = Napping()
    async with serving(napping.worker, broker.url) as task:
        connection = await broker.connection()
        connection.send_request("nap")
        await napping.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert napping.cancelled.is_set()
        assert "1000" in await connection.closed
        assert connection.response_counts.total() == 0


async def test_a_handler_may_end_its_worker_and_run_needs_no_main_thread(broker: FakeBroker) -> None:
    worker = Worker()

    @worker.command()
    async def leave() -> str:
        worker.drain()
        return "leaving"

    thread = threading.Thread(target=worker.run, args=(broker.url,))
    thread.start()
    connection = await broker.connection()
    assert await connection.result("leave") == "leaving"
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()


def test_a_thread_that_ends_after_its_worker_is_harmless() -> None:
    worker = Worker()
    threads: list[threading.Thread] = []
    began, may_end = threading.Event(), threading.Event()

    @worker.command()
    def block() -> None:
        threads.append(threading.current_thread())
        began.set()
        may_end.wait(PATIENCE_S)

    async def scenario() -> None:
        broker = FakeBroker()
        await broker.start()
        async with broker.serve(worker) as connection:
            connection.send_request("block")
            await asyncio.to_thread(began.wait, PATIENCE_S)
        await broker.close()

    asyncio.run(scenario())
    may_end.set()
    threads[0].join(PATIENCE_S)  # an exception in it would fail this test
    assert not threads[0].is_alive()


async def test_cancelling_serve_while_it_connects_or_waits_stops_too(broker: FakeBroker) -> None:
    broker.answer = lambda hello: None
    async with serving(Napping().worker, broker.url):
        await broker.connection()
    broker.stop_listening()
    for pause_s in (0.0, 0.02, 0.1):
        async with serving(Napping().worker, broker.url):
            await asyncio.sleep(pause_s)


@pytest.mark.parametrize("error", [LookupError("odd"), RuntimeError("can't start new thread")])
async def test_an_error_of_any_kind_while_connecting_is_reported_and_tried_again(
    error: Exception, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = pytest.MonkeyPatch()

    async def fail_once(*_: object, **__: object) -> NoReturn:
        trouble.undo()
        raise error

    trouble.setattr(service, "connect", fail_once)
    async with broker.serve(Napping().worker) as connection:
        assert connection.hello["type"] == "connect"
    assert f"cannot connect to {broker.url}: {type(error).__name__}: {error}; retrying" in caplog.text


async def test_a_file_that_tls_cannot_write_to_is_reported_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nowhere" / "keys"))
    async with serving(Napping().worker, "wss://127.0.0.1:1") as task:
        async with asyncio.timeout(PATIENCE_S):
            while "TLS cannot be set up: SSLKEYLOGFILE: " not in caplog.text:
                await asyncio.sleep(0.005)
        monkeypatch.delenv("SSLKEYLOGFILE")
        async with asyncio.timeout(PATIENCE_S):
            while "connection refused" not in caplog.text:
                await asyncio.sleep(0.005)
        assert not task.done()
