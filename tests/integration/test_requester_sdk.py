"""Both requesters against a real broker and real workers: results, failures, restarts, frozen and killed programs."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from taskferry.requester import (
    BadRequest,
    BlockingRequester,
    ConnectionLost,
    HandlerError,
    NoAvailableWorkers,
    NotRepresentable,
    Requester,
    WorkerLost,
    WorkerTimeout,
)

from tests.processes import Broker, Program, Programs, programs_in, wait_until

WORKER = """
import asyncio
from pathlib import Path
from taskferry.worker import CommandError, Worker

worker = Worker(concurrency=64)

@worker.command("sdk_add")
async def add(a: int, b: int) -> int:
    return a + b

@worker.command("sdk_same")
async def same(value: object = None) -> object:
    return value

@worker.command("sdk_sleep")
async def sleep(seconds: float = 60) -> str:
    await asyncio.sleep(seconds)
    return "slept"

@worker.command("sdk_slow_once")
async def slow_once(path: str) -> str:
    if not Path(path).exists():
        Path(path).touch()
        await asyncio.sleep(60)
    return "quick"

@worker.command("sdk_fail")
async def fail() -> None:
    raise CommandError("too blue", code="too_blue")
"""


def start_worker(programs: Programs, broker: Broker, *options: str) -> Program:
    (programs.folder / "sdk_tasks.py").write_text(WORKER)
    count = len(broker.workers())
    worker = programs.start(
        "-m", "taskferry.worker", "sdk_tasks:worker", "--broker", broker.worker_url, *options,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(lambda: len(broker.workers()) > count, "the worker")
    return worker


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with two workers, one in each encoding, for all tests that disturb neither."""
    with programs_in(tmp_path_factory.mktemp("sdk")) as programs:
        broker = programs.start_broker("--grace", "0")
        start_worker(programs, broker, "--name", "speaks-json")
        start_worker(programs, broker, "--name", "speaks-msgpack", "--encoding", "msgpack")
        yield broker


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_results_come_from_workers_of_both_encodings(served: Broker, encoding: str) -> None:
    async with Requester(served.requester_url, encoding=encoding) as requester:
        responses = await asyncio.gather(
            *(requester.request("sdk_add", {"a": n, "b": 1}) for n in range(200))
        )
        assert [response.data for response in responses] == [n + 1 for n in range(200)]
        assert {response.processed_by for response in responses} == {"speaks-json", "speaks-msgpack"}


async def test_each_failure_raises_its_exception(served: Broker) -> None:
    async with Requester(served.requester_url) as requester:
        with pytest.raises(HandlerError, match="too blue") as caught:
            await requester.call("sdk_fail")
        assert caught.value.code == "too_blue"
        with pytest.raises(BadRequest, match="a"):
            await requester.call("sdk_add", {"a": "one", "b": 2})
        with pytest.raises(NoAvailableWorkers):
            await requester.call("sdk_nobody")
        with pytest.raises(BadRequest, match="command"):
            await requester.call("x" * 1000)


async def test_the_broker_answers_a_timeout_and_names_the_worker(served: Broker) -> None:
    async with Requester(served.requester_url) as requester:
        with pytest.raises(WorkerTimeout, match=r"^Worker response timeout$") as caught:
            await requester.call("sdk_sleep", timeout=0.2)
        assert caught.value.processed_by in ("speaks-json", "speaks-msgpack")


async def test_a_value_that_an_encoding_cannot_hold_goes_to_a_worker_with_another_or_is_an_error(
    served: Broker,
) -> None:
    async with Requester(served.requester_url) as requester:
        responses = await asyncio.gather(
            *(requester.request("sdk_same", {"value": 2**70}) for _ in range(20))
        )
        assert {(response.processed_by, response.code) for response in responses} == {("speaks-json", None)}
        response = await requester.request("sdk_same", {"value": 2**70}, target="speaks-msgpack")
        assert response.code == NotRepresentable.code


async def test_cancelling_a_call_frees_the_workers_slot(served: Broker) -> None:
    def in_flight_count() -> int:
        return sum(row["in_flight"] for row in served.workers().values())

    async with Requester(served.requester_url) as requester:
        call = asyncio.create_task(requester.call("sdk_sleep"))
        await asyncio.to_thread(wait_until, lambda: in_flight_count() == 1, "the request")
        call.cancel()
        await asyncio.to_thread(wait_until, lambda: in_flight_count() == 0, "its end")


async def test_a_killed_broker_fails_requests_that_may_have_run_and_is_found_again(
    programs: Programs,
) -> None:
    broker = await asyncio.to_thread(programs.start_broker, "--grace", "0")
    await asyncio.to_thread(start_worker, programs, broker)
    async with Requester(broker.requester_url) as requester:
        once = {"path": str(programs.folder / "ran")}
        lost = asyncio.create_task(requester.call("sdk_sleep"))
        kept = asyncio.create_task(requester.call("sdk_slow_once", once, idempotent=True))
        await asyncio.to_thread(wait_until, lambda: broker.status()["in_flight_count"] == 2, "the requests")
        broker.kill()
        with pytest.raises(ConnectionLost, match="the command may have run"):
            await lost
        ports = ("--worker-port", _port(broker.worker_url), "--requester-port", _port(broker.requester_url))
        again = await asyncio.to_thread(programs.start_broker, *ports, "--grace", "0")
        await asyncio.to_thread(wait_until, again.workers, "the worker's return")
        # The requester may reconnect before the worker does; then the request that was sent again ends at once.
        with suppress(NoAvailableWorkers):
            assert await kept == "quick"
        assert await requester.call("sdk_add", {"a": 1, "b": 2}) == 3


async def test_a_killed_worker_fails_a_request_unless_it_may_run_twice(
    broker: Broker, programs: Programs
) -> None:
    first = await asyncio.to_thread(start_worker, programs, broker, "--name", "first")
    async with Requester(broker.requester_url) as requester:
        path = {"path": str(programs.folder / "ran")}
        once = asyncio.create_task(requester.call("sdk_sleep"))
        twice = asyncio.create_task(requester.request("sdk_slow_once", path, idempotent=True))
        await asyncio.to_thread(wait_until, lambda: broker.status()["in_flight_count"] == 2, "the requests")
        second = await asyncio.to_thread(start_worker, programs, broker, "--name", "second")
        first.kill()
        with pytest.raises(WorkerLost, match="may have run"):
            await once
        response = await twice
        assert (response.data, response.processed_by) == ("quick", "second")
        second.kill()


def test_many_threads_over_one_blocking_requester(served: Broker) -> None:
    with BlockingRequester(served.requester_url) as requester, ThreadPoolExecutor(16) as threads:
        sums = threads.map(lambda n: requester.call("sdk_add", {"a": n, "b": n}), range(500))
        assert list(sums) == [2 * n for n in range(500)]
        with pytest.raises(HandlerError, match="too blue"):
            requester.call("sdk_fail")


def test_a_blocking_requester_survives_a_restart_of_the_broker(programs: Programs) -> None:
    broker = programs.start_broker("--grace", "0")
    start_worker(programs, broker)
    with BlockingRequester(broker.requester_url) as requester:
        assert requester.call("sdk_add", {"a": 1, "b": 2}) == 3
        broker.terminate()
        assert broker.wait() == 0
        ports = ("--worker-port", _port(broker.worker_url), "--requester-port", _port(broker.requester_url))
        again = programs.start_broker(*ports, "--grace", "0")
        wait_until(again.workers, "the worker's return")
        started_s = time.monotonic()
        assert requester.call("sdk_add", {"a": 1, "b": 2}) == 3
        assert time.monotonic() - started_s < 5


# --- the examples ---


def test_the_plain_client_needs_no_sdk(programs: Programs, broker: Broker) -> None:
    programs.start("-m", "taskferry.worker", "--broker", broker.worker_url, "--name", "built-in")
    wait_until(broker.workers, "the worker")
    script = _example("plain_requester.py", programs.folder, broker.requester_url)
    plain = programs.start(str(script))
    assert plain.wait() == 0, plain.stderr
    plain.wait_for_stdout(r"^True \d{4}-\d\d-\d\d \d\d:\d\d:\d\d built-in\n$")


def test_the_sdk_example_prints_what_it_claims(programs: Programs, broker: Broker) -> None:
    programs.start("-m", "taskferry.worker", "--broker", broker.worker_url, "--name", "built-in")
    wait_until(broker.workers, "the worker")
    example = Path(__file__).parents[2] / "examples" / "requester_sdk.py"
    sdk = programs.start(str(example), broker.requester_url)
    assert sdk.wait() == 0, sdk.stderr
    assert sdk.stdout.splitlines() == [
        "Echo: Hello World",
        "[0, 2, 4, 6, 8]",
        "division_by_zero: division by zero: 1 / 0 (from built-in, retryable: False)",
        "False no_available_workers No available workers: no worker serves 'no_such_command'; start one that does",
        "Echo: Hello from a thread",
    ]


def _example(name: str, folder: Path, url: str) -> Path:
    """An example with the broker's address in it, otherwise unchanged."""
    text = (Path(__file__).parents[2] / "examples" / name).read_text()
    assert text.count("ws://localhost:8766") == 1
    path = folder / name
    path.write_text(text.replace("ws://localhost:8766", url))
    return path


def _port(url: str) -> str:
    return url.rsplit(":", 1)[1]
