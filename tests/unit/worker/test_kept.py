"""Attempts of jobs outlive their link: they go on, are claimed, and their results come again until they are settled."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from taskferry.protocol import limits as wire_limits
from taskferry.protocol.messages import Claim
from taskferry.worker import CommandError, Context, Worker, limits
from taskferry.worker.kept import KeptResults

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker, welcome


class Stage:
    """A worker whose handlers last until the test says otherwise."""

    def __init__(self, concurrency: int, grace_s: float = 0.05) -> None:
        self.worker = Worker(
            name="w", concurrency=concurrency, process_count=1, thread_count=2, grace_s=grace_s
        )
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.may_end = asyncio.Event()
        self.thread_may_end = threading.Event()
        self.cancelled: list[str] = []
        for handler in (
            self.nap,
            self.nap_in_thread,
            self.poll,
            self.double,
            self.write,
            self.blame,
            self.plod,
            self.clean_up,
        ):
            self.worker.command()(handler)
        self.worker.command(executor="process")(process_handlers.sleep_until_gone)

    async def nap(self, context: Context) -> str:
        self.started.put_nowait("nap")
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(context.request_id)
            raise
        return "rested"

    def nap_in_thread(self, context: Context) -> str:
        self.loop.call_soon_threadsafe(self.started.put_nowait, "nap_in_thread")
        self.thread_may_end.wait(PATIENCE_S)
        return f"rested, {'cancelled' if context.cancelled else 'wanted'}"

    def poll(self, context: Context) -> None:
        self.loop.call_soon_threadsafe(self.started.put_nowait, "poll")
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            context.raise_if_cancelled()
            time.sleep(0.002)

    def plod(self) -> str:
        self.loop.call_soon_threadsafe(self.started.put_nowait, "plod")
        self.thread_may_end.wait(PATIENCE_S)
        return "done"

    async def clean_up(self) -> None:
        self.started.put_nowait("clean_up")
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            await asyncio.sleep(0.05)
            self.cancelled.append("cleaned up")

    async def double(self, number: int) -> int:
        return number * 2

    async def write(self, size: int) -> str:
        return "x" * size

    async def blame(self) -> None:
        raise CommandError("it is the worker", code="worker_stopping")

    async def all_started(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                await self.started.get()


@pytest.fixture
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """With three slots and little grace, or with `many_slots`, or with `long_grace`."""
    stage = Stage(**getattr(request, "param", {"concurrency": 3}))
    yield stage
    stage.thread_may_end.set()


@pytest.fixture
async def serving(stage: Stage, broker: FakeBroker) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(stage.worker.serve(broker.url))
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def broken(connection: Connection, broker: FakeBroker) -> Connection:
    """The worker's next link, after this one was lost."""
    connection.link.abort("gone")
    return await broker.connection()


async def all_handled(connection: Connection) -> None:
    """The worker has handled all that was sent to it."""
    await connection.failure("unheard of")


async def no_response_to(msg_id: str, connection: Connection) -> bool:
    """After all that the worker has handled so far."""
    await all_handled(connection)
    return connection.response_counts[msg_id] == 0


pytestmark = pytest.mark.usefixtures("serving")
many_slots = pytest.mark.parametrize("stage", [{"concurrency": 1000}], indirect=True)
long_grace = pytest.mark.parametrize("stage", [{"concurrency": 3, "grace_s": PATIENCE_S}], indirect=True)


# --- a lost link ---


async def test_handlers_of_all_kinds_go_on_and_are_claimed(
    stage: Stage, broker: FakeBroker, tmp_path: Path
) -> None:
    connection = await broker.connection()
    assert connection.claimed == []
    file = tmp_path / "running"
    connection.send_attempt("nap", msg_id="e.1", attempt=3)
    connection.send_attempt("nap_in_thread", msg_id="e.2")
    connection.send_attempt("sleep_until_gone", {"path": str(file)}, msg_id="e.3")
    await stage.all_started(2)
    async with asyncio.timeout(PATIENCE_S):
        while not file.exists():
            await asyncio.sleep(0.01)
    connection = await broken(connection, broker)
    assert connection.hello["data"]["running"] == [
        {"msg_id": "e.1", "job_id": "j-e.1", "attempt": 3},
        {"msg_id": "e.2", "job_id": "j-e.2", "attempt": 1},
        {"msg_id": "e.3", "job_id": "j-e.3", "attempt": 1},
    ]
    assert "no free slot" in (await connection.failure("double", {"number": 1}))[1], "they keep their slots"
    stage.may_end.set()
    stage.thread_may_end.set()
    file.unlink()
    assert (await connection.response_to("e.1"))["result"] == "rested"
    assert (await connection.response_to("e.2"))["result"] == "rested, wanted"
    assert (await connection.response_to("e.3"))["result"] == "woken"
    assert await connection.result("double", {"number": 1}) == 2
    assert stage.cancelled == []


async def test_an_ordinary_request_is_cancelled_beside_an_attempt_that_goes_on(
    stage: Stage, broker: FakeBroker
) -> None:
    connection = await broker.connection()
    connection.send_request("nap", msg_id="7")
    connection.send_attempt("nap", msg_id="e.1")
    await stage.all_started(2)
    connection = await broken(connection, broker)
    assert connection.claimed == ["e.1"]
    assert stage.cancelled == ["r-7"]
    stage.may_end.set()
    assert (await connection.response_to("e.1"))["success"]
    assert connection.response_counts == {"e.1": 1}


async def test_a_result_comes_again_after_each_welcome_until_it_is_settled(
    stage: Stage, broker: FakeBroker
) -> None:
    connection = await broker.connection()
    connection.send_attempt("double", {"number": 1}, msg_id="e.1")
    connection.send_attempt("double", {"number": 2}, msg_id="e.2")
    first = await connection.response_to("e.1")
    connection.send_settled("e.2")
    await all_handled(connection)
    for _ in range(2):
        connection = await broken(connection, broker)
        assert connection.claimed == ["e.1"]
        assert await connection.response_to("e.1") == first
        connection.send(welcome(connection.hello))  # a second welcome changes nothing
        assert await no_response_to("e.2", connection)
        assert connection.response_counts["e.1"] == 1
    connection.send_settled("e.1")
    await all_handled(connection)
    assert (await broken(connection, broker)).claimed == []


async def test_what_ends_while_there_is_no_link_is_kept_with_its_deadline(
    stage: Stage, broker: FakeBroker
) -> None:
    connection = await broker.connection()
    connection.send_attempt("nap", msg_id="e.1", timeout=0.1)
    connection.send_attempt("nap_in_thread", msg_id="e.2")
    await stage.all_started(2)
    port = int(broker.url.rpartition(":")[2])
    broker.stop_listening()
    connection.link.abort("gone")
    async with asyncio.timeout(PATIENCE_S):
        while not stage.cancelled:
            await asyncio.sleep(0.01)
    stage.thread_may_end.set()
    await broker.start(port)
    connection = await broker.connection()
    response = await connection.response_to("e.1")
    assert (response["code"], response["error"]) == ("cancelled", "Cancelled: deadline passed")
    assert (await connection.response_to("e.2"))["result"] == "rested, wanted"
    assert sorted(connection.claimed) == ["e.1", "e.2"]


@many_slots
async def test_a_link_that_breaks_before_the_welcome_or_while_results_come_loses_nothing(
    stage: Stage, broker: FakeBroker
) -> None:
    connection = await broker.connection()
    msg_ids = [f"e.{number}" for number in range(1000)]
    for number, msg_id in enumerate(msg_ids):
        connection.send_attempt("double", {"number": number}, msg_id=msg_id)
    await connection.response_to(msg_ids[-1])
    broker.answer = lambda hello: None
    connection = await broken(connection, broker)
    broker.answer = welcome
    connection = await broken(connection, broker)
    assert sorted(connection.claimed) == sorted(msg_ids)
    await connection.response_to("e.10")
    connection = await broken(connection, broker)
    assert (await connection.response_to(msg_ids[-1]))["result"] == 1998
    assert [message["msg_id"] for message in connection.messages] == msg_ids[:-1], "in their order"
    for msg_id in msg_ids[1:]:
        connection.send_settled(msg_id)
    await all_handled(connection)
    assert (await broken(connection, broker)).claimed == ["e.0"]


async def test_a_result_that_the_next_broker_would_not_accept_becomes_a_failure(broker: FakeBroker) -> None:
    connection = await broker.connection()
    for msg_id, size_bytes in (("e.1", 16 * 1024), ("e.2", 15 * 1024)):
        connection.send_attempt("write", {"size": size_bytes}, msg_id=msg_id)
        assert (await connection.response_to(msg_id))["success"]
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=16 * 1024)
    connection = await broken(connection, broker)
    response = await connection.response_to("e.1")
    assert response["code"] == "too_large"
    assert response["error"].endswith("bytes, at most 12288 (message_size_bytes_max of the broker less 4096)")
    assert (await connection.response_to("e.2"))["success"]
    broker.answer = welcome
    connection = await broken(connection, broker)
    assert await connection.response_to("e.1") == response


@many_slots
async def test_claims_that_do_not_fit_into_one_message_are_given_up(
    stage: Stage, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=16 * 1024)
    connection = await broker.connection()
    connection.send_attempt("nap", msg_id="e.running")
    for number in range(300):
        connection.send_attempt("double", {"number": number}, msg_id=f"e.{number}")
    await connection.response_to("e.299")
    connection = await broken(connection, broker)
    claimed = connection.claimed
    assert claimed[:2] == ["e.running", "e.299"], "what runs, and then the newest"
    assert 100 < len(claimed) < 200
    assert f"{301 - len(claimed)} attempts of jobs could not be claimed" in caplog.text
    assert (await broken(connection, broker)).claimed == claimed
    assert stage.cancelled == []


@many_slots
async def test_a_running_attempt_that_cannot_be_claimed_is_stopped(stage: Stage, broker: FakeBroker) -> None:
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=16 * 1024)
    connection = await broker.connection()
    msg_ids = [f"e.{number:060}" for number in range(100)]
    for msg_id in msg_ids:
        connection.send_attempt("nap", msg_id=msg_id)
    await stage.all_started(100)
    connection = await broken(connection, broker)
    assert 40 < len(connection.claimed) < 60
    stage.may_end.set()
    for msg_id in connection.claimed:
        assert (await connection.response_to(msg_id))["success"]
    assert await no_response_to(msg_ids[-1], connection)
    assert stage.cancelled == [f"r-{msg_id}" for msg_id in msg_ids[len(connection.claimed) :]]


# --- settled ---


async def test_settled_stops_an_attempt_that_runs_and_frees_its_slot(
    stage: Stage, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="taskferry.worker")
    connection = await broker.connection()
    connection.send_attempt("nap", msg_id="e.1", attempt=2)
    connection.send_attempt("nap_in_thread", msg_id="e.2")
    connection.send_attempt("nap_in_thread", msg_id="e.3")
    await stage.all_started(3)
    for number in (1, 2, 3):
        connection.send_settled(f"e.{number}")
    assert await connection.result("double", {"number": 1}) == 2, "although the threads have not ended"
    assert stage.cancelled == ["r-e.1"]
    stage.thread_may_end.set()
    for number in (1, 2, 3):
        assert await no_response_to(f"e.{number}", connection)
    assert (await broken(connection, broker)).claimed == []
    assert "stopped nap, attempt 2 of job j-e.1: the broker no longer wants it" in caplog.text


async def test_settled_again_or_for_what_is_no_attempt_of_a_job_does_nothing(
    stage: Stage, broker: FakeBroker
) -> None:
    connection = await broker.connection()
    connection.send_request("nap", msg_id="7")
    connection.send_attempt("double", {"number": 1}, msg_id="e.1")
    await connection.response_to("e.1")
    for msg_id in ("7", "e.1", "e.1", "never heard of", ""):
        connection.send_settled(msg_id)
    await all_handled(connection)
    stage.may_end.set()
    assert (await connection.response_to("7"))["success"]
    assert not [message for message in connection.messages if message["type"] == "error"]


async def test_an_attempt_whose_result_is_kept_is_not_run_again(stage: Stage, broker: FakeBroker) -> None:
    connection = await broker.connection()
    connection.send_attempt("double", {"number": 1}, msg_id="e.1")
    await connection.response_to("e.1")
    connection.send_attempt("double", {"number": 1}, msg_id="e.1")
    error = await connection.receive_type("error")
    assert error["data"]["error"] == "msg_id: assignment 'e.1' is running already"
    assert connection.response_counts == {"e.1": 1}


async def test_failures_and_refusals_are_kept_like_results(stage: Stage, broker: FakeBroker) -> None:
    connection = await broker.connection()
    connection.send_attempt("unheard of", msg_id="e.1")
    connection.send_attempt("double", {"number": "x"}, msg_id="e.2")
    connection.send_attempt("blame", msg_id="e.3")
    connection.send_attempt("nap", msg_id="e.4")
    await stage.all_started(1)
    connection.send_cancel("e.4")
    await connection.response_to("e.4")
    connection = await broken(connection, broker)
    assert connection.claimed == ["e.4", "e.3", "e.2", "e.1"], "the newest first"
    codes = [(await connection.response_to(f"e.{number}"))["code"] for number in range(1, 5)]
    assert codes == ["unknown_command", "bad_request", "handler_error", "cancelled"]


# --- stopping ---


async def test_a_drain_gives_back_what_does_not_finish_and_waits_until_all_is_settled(
    stage: Stage,
    broker: FakeBroker,
    tmp_path: Path,
    serving: "asyncio.Task[None]",
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="taskferry.worker")
    connection = await broker.connection()
    file = tmp_path / "running"
    connection.send_attempt("clean_up", msg_id="e.1")
    connection.send_attempt("poll", msg_id="e.2")
    connection.send_attempt("sleep_until_gone", {"path": str(file)}, msg_id="e.3")
    await stage.all_started(2)
    async with asyncio.timeout(PATIENCE_S):
        while not file.exists():
            await asyncio.sleep(0.01)
    stage.worker.drain()
    for msg_id in ("e.1", "e.2", "e.3"):
        response = await connection.response_to(msg_id)
        assert (response["code"], response["error"]) == (
            "worker_stopping",
            "Cancelled: the worker is stopping",
        )
        assert "retry" not in response
    assert stage.cancelled == ["cleaned up"], "before it was given back"
    assert not connection.closed.done()
    for msg_id in ("e.1", "e.2", "e.3"):
        connection.send_settled(msg_id)
    assert "1000" in await connection.closed
    await serving
    assert "3 attempts of jobs did not finish within 0.05 s; giving them back" in caplog.text
    assert "stopped with" not in caplog.text
    assert "died" not in caplog.text


async def test_what_ends_as_it_is_given_back_is_done_if_its_handler_could_not_know(
    stage: Stage, broker: FakeBroker
) -> None:
    connection = await broker.connection()
    connection.send_attempt("plod", msg_id="e.1")
    connection.send_attempt("nap_in_thread", msg_id="e.2")
    connection.send_attempt("nap", msg_id="e.3")
    await stage.all_started(3)
    stage.worker.drain()
    assert (await connection.response_to("e.3"))["code"] == "worker_stopping", "so all are given back"
    stage.thread_may_end.set()
    assert (await connection.response_to("e.1"))["result"] == "done"
    assert (await connection.response_to("e.2"))["code"] == "worker_stopping", "it looked"


async def test_a_drain_leaves_what_does_not_obey_or_is_not_settled(
    stage: Stage,
    broker: FakeBroker,
    serving: "asyncio.Task[None]",
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, logger="taskferry.worker")
    monkeypatch.setattr(limits, "STOP_S_MAX", 0.05)
    monkeypatch.setattr(limits, "SETTLED_S_MAX", 0.05)
    connection = await broker.connection()
    connection.send_attempt("nap_in_thread", msg_id="e.1")
    connection.send_request("nap", msg_id="7")
    connection.send_attempt("double", {"number": 1}, msg_id="e.2")
    await stage.all_started(2)
    stage.worker.drain()
    await serving
    await connection.closed
    assert connection.response_counts == {"e.2": 1}
    assert "1 assignments did not finish within 0.05 s" in caplog.text
    assert "1 attempts of jobs did not finish within 0.05 s" in caplog.text
    assert (
        "stopped with 1 attempts of jobs unfinished, and 1 results of jobs that no broker has settled"
    ) in caplog.text


@long_grace
async def test_a_broker_that_goes_away_during_a_drain_is_waited_for_within_the_grace(
    stage: Stage, broker: FakeBroker, serving: "asyncio.Task[None]", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="taskferry.worker")
    connection = await broker.connection()
    connection.send_attempt("double", {"number": 1}, msg_id="e.1")
    connection.send_attempt("nap", msg_id="e.2")
    await connection.response_to("e.1")
    await stage.all_started(1)
    stage.worker.drain()
    await connection.receive_type("disconnect")
    connection.link.abort("gone")
    again = await broker.connection()
    hello = again.hello["data"]
    assert hello["concurrency"] == len(hello["running"]) == 2, "no slot for anything new"
    assert (await again.receive(lambda _: True))["type"] == "disconnect"
    assert (await again.response_to("e.1"))["result"] == 2
    again.send_settled("e.1")
    stage.may_end.set()
    assert (await again.response_to("e.2"))["result"] == "rested"
    again.send_settled("e.2")
    async with asyncio.timeout(PATIENCE_S):
        await serving
    assert "stopped with" not in caplog.text
    assert broker.connection_count == 2


async def test_a_broker_that_stays_away_during_a_drain_is_not_waited_for_any_longer(
    stage: Stage, broker: FakeBroker, serving: "asyncio.Task[None]", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="taskferry.worker")
    connection = await broker.connection()
    connection.send_attempt("nap", msg_id="e.1")
    await stage.all_started(1)
    broker.stop_listening()
    stage.worker.drain()
    connection.link.abort("gone")
    async with asyncio.timeout(PATIENCE_S):
        await serving
    assert stage.cancelled == ["r-e.1"]
    assert "giving them back" not in caplog.text
    assert "stopped with 1 attempts of jobs unfinished, and 0 results" in caplog.text


async def test_stopping_while_the_broker_is_away_tells_what_is_left(
    stage: Stage, broker: FakeBroker, serving: "asyncio.Task[None]", caplog: pytest.LogCaptureFixture
) -> None:
    connection = await broker.connection()
    connection.send_attempt("double", {"number": 1}, msg_id="e.1")
    connection.send_attempt("nap", msg_id="e.2")
    await connection.response_to("e.1")
    await stage.all_started(1)
    broker.stop_listening()
    connection.link.abort("gone")
    async with asyncio.timeout(PATIENCE_S):
        while "cannot connect" not in caplog.text:
            await asyncio.sleep(0.01)
    stage.worker.drain()
    await serving
    assert stage.cancelled == ["r-e.2"]
    assert (
        "stopped with 1 attempts of jobs unfinished, and 1 results of jobs that no broker has settled"
    ) in caplog.text


# --- bounds ---


def kept(count: int, size_bytes: int) -> KeptResults:
    results = KeptResults()
    for number in range(count):
        results.keep(Claim(str(number), "j", 1), bytes(size_bytes))
    return results


def msg_ids(results: KeptResults) -> list[str]:
    return [claim.msg_id for claim, _ in results]


@pytest.mark.usefixtures("_small_bounds")
async def test_as_many_results_are_kept_as_there_is_room_for(caplog: pytest.LogCaptureFixture) -> None:
    assert msg_ids(kept(3, 10)) == ["0", "1", "2"]
    assert caplog.text == ""
    assert msg_ids(kept(4, 10)) == ["1", "2", "3"]
    assert "forgot 1 results of jobs that no broker has settled; 3 (30 bytes) are kept" in caplog.text
    assert msg_ids(kept(2, 50)) == ["0", "1"]
    assert msg_ids(kept(3, 50)) == ["1", "2"]
    assert msg_ids(kept(2, 51)) == ["1"]
    assert msg_ids(kept(2, 1000)) == ["1"], "the newest is always kept"


@pytest.mark.usefixtures("_small_bounds")
async def test_room_is_free_again_once_results_are_settled_or_replaced() -> None:
    results = kept(2, 50)
    assert results.settle("0")
    assert not results.settle("0")
    results.keep(Claim("1", "j", 1), bytes(10))
    results.keep(Claim("9", "j", 1), bytes(90))
    assert msg_ids(results) == ["1", "9"]


def test_a_worker_never_keeps_more_than_it_may_claim() -> None:
    assert limits.KEPT_RESULTS_COUNT_MAX + wire_limits.CONCURRENCY_MAX == wire_limits.RUNNING_COUNT_MAX


@pytest.fixture
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_RESULTS_COUNT_MAX", 3)
    monkeypatch.setattr(limits, "KEPT_RESULTS_SIZE_BYTES_MAX", 100)
