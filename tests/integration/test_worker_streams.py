"""A worker's progress and chunks with a real broker: handlers of every kind, and every way in which they end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from taskferry.protocol.limits import STREAM_CHUNKS_COUNT_MAX

from tests.integration.peers import Peer, connected, eventually
from tests.integration.test_worker_lifecycle import lasting_port
from tests.processes import PATIENCE_S, Broker, Program, Programs, wait_until

TASKS = '''
import asyncio
import contextlib
import os
import threading
import time
from pathlib import Path
from taskferry.worker import Context, Worker

worker = Worker(concurrency=8, process_count=2)


def note(line):
    with open("notes", "a") as notes:
        notes.write(f"{line}\\n")


@contextlib.contextmanager
def noting_end(kind):
    place = os.getpid(), threading.get_ident()
    end = "returned"
    try:
        yield
    except BaseException as error:
        end = type(error).__name__
        raise
    finally:
        note(f"{kind}: {end}" if (os.getpid(), threading.get_ident()) == place else "elsewhere")


def chunk(kind, number, size):
    Path(f"{kind}.sent").write_text(str(number))
    return {"number": number, "filling": "x" * size}


@worker.command()
async def coroutine(count: int, size: int, context: Context) -> str:
    with noting_end("coroutine"):
        for number in range(count):
            await context.send(chunk("coroutine", number, size))
            await context.progress(current=number + 1, total=count)
        return "all sent"


def send(kind, count, size, context):
    with noting_end(kind):
        for number in range(count):
            context.send(chunk(kind, number, size))
            context.progress(current=number + 1, total=count)
        return "all sent"


@worker.command()
def thread(count: int, size: int, context: Context) -> str:
    return send("thread", count, size, context)


@worker.command(executor="process")
def process(count: int, size: int, context: Context) -> str:
    return send("process", count, size, context)


def generate(kind, count, size, context):
    with noting_end(kind):
        for number in range(count):
            yield chunk(kind, number, size)
            context.progress(current=number + 1, total=count)
        return "all sent"


@worker.command()
def generator(count: int, size: int, context: Context):
    return (yield from generate("generator", count, size, context))


@worker.command(executor="process")
def process_generator(count: int, size: int, context: Context):
    return (yield from generate("process_generator", count, size, context))


@worker.command()
async def async_generator(count: int, size: int, context: Context):
    with noting_end("async_generator"):
        for number in range(count):
            yield chunk("async_generator", number, size)
            context.progress(current=number + 1, total=count)


@worker.command()
async def tick(context: Context) -> str:
    """Sends until there is a file."""
    number = 0
    while not Path("enough").exists():
        await context.send(number)
        number += 1
        await asyncio.sleep(0.001)
    return "ticked"
'''

ENDS = {
    "coroutine": "CancelledError",
    "thread": "ContextCancelled",
    "process": "ContextCancelled",
    "generator": "GeneratorExit",
    "process_generator": "GeneratorExit",
    "async_generator": "GeneratorExit",
}
"""How a handler of each kind ends that is cancelled while it waits."""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS)
    (folder / "notes").touch()
    return folder


def start_worker(programs: Programs, folder: Path, url: str, *options: str) -> Program:
    source = "import os, sys; os.chdir(sys.argv.pop(1)); from taskferry.worker.cli import worker; worker()"
    return programs.start("-c", source, str(folder), "tasks:worker", "--broker", url, *options)


def notes_of(folder: Path) -> list[str]:
    return (folder / "notes").read_text().splitlines()


def sent_by(folder: Path, kind: str) -> int:
    """The number of the last chunk that a handler has made, -1 if there is none."""
    try:
        return int((folder / f"{kind}.sent").read_text() or -1)
    except FileNotFoundError:
        return -1


async def ready(broker: Broker) -> None:
    await eventually(broker.workers, "the worker is there")


async def request(peer: Peer, kind: str, count: int, size: int = 10, **fields: Any) -> None:
    data = {"count": count, "size": size}
    await peer.send({"request_id": kind, "command": kind, "data": data, "timeout": 60, **fields})


async def until(peer: Peer, is_last: Callable[[Any], bool]) -> AsyncIterator[Any]:
    """The messages that come, up to the last one."""
    while True:
        message = await peer.receive()
        yield message
        if is_last(message):
            return


async def credit(peer: Peer, kind: str, sequence: int) -> None:
    await peer.send({"type": "credit", "request_id": kind, "sequence": sequence})


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_handlers_of_every_kind_stream(
    programs: Programs, broker: Broker, tasks: Path, encoding: str
) -> None:
    """At once, over one connection, to a requester that takes a few of each at a time."""
    start_worker(programs, tasks, broker.worker_url, "--encoding", encoding)
    await ready(broker)
    count = 300
    taken = dict.fromkeys(ENDS, 0)
    shares: dict[str, list[float]] = {kind: [] for kind in ENDS}
    responses: dict[str, Any] = {}
    async with connected(broker.requester_url) as peer:
        for kind in ENDS:
            await request(peer, kind, count, size=1000, stream="credit")
        while len(responses) < len(ENDS):
            message = await peer.receive()
            kind = message["request_id"]
            assert kind not in responses, "nothing comes after the response"
            match message.get("type"):
                case "chunk":
                    assert message["data"] == {"number": taken[kind], "filling": "x" * 1000}
                    taken[kind] += 1
                    assert (message["sequence"], message["attempt"]) == (taken[kind], 1)
                    if taken[kind] % 10 == 0:
                        await credit(peer, kind, taken[kind])
                case "progress":
                    assert message["sequence"] <= taken[kind]
                    shares[kind].append(message["data"]["progress"])
                case _:
                    responses[kind] = message
    for kind, response in responses.items():
        assert response["success"], response
        assert response["data"] == (None if kind == "async_generator" else "all sent")
        assert taken[kind] == count
        assert shares[kind] == sorted(shares[kind])
        assert shares[kind][-1] == 1.0, "the last word always comes"
    assert sorted(notes_of(tasks)) == sorted(f"{kind}: returned" for kind in ENDS)


async def test_a_reader_that_takes_nothing_holds_its_handlers_and_nothing_else(
    programs: Programs, broker: Broker, tasks: Path
) -> None:
    start_worker(programs, tasks, broker.worker_url)
    await ready(broker)
    async with connected(broker.requester_url) as peer, connected(broker.requester_url) as other:
        for kind in ENDS:
            await request(peer, kind, 1000, stream="credit")
        for kind in ENDS:
            await eventually(
                lambda kind=kind: sent_by(tasks, kind) == STREAM_CHUNKS_COUNT_MAX,  # type: ignore[misc]
                f"{kind} waits with the first chunk that has no room",
            )
        response = await other.call("coroutine", {"count": 100, "size": 10})
        assert response["data"] == "all sent"
        for kind in ENDS:
            if kind != "coroutine":  # which `other` has called
                assert sent_by(tasks, kind) == STREAM_CHUNKS_COUNT_MAX
            await peer.send({"type": "cancel", "request_id": kind})
        expected = sorted([*(f"{kind}: {end}" for kind, end in ENDS.items()), "coroutine: returned"])
        await eventually(lambda: sorted(notes_of(tasks)) == expected, "each has ended where it was")


async def test_without_a_stream_generators_give_lists(
    programs: Programs, broker: Broker, tasks: Path
) -> None:
    start_worker(programs, tasks, broker.worker_url)
    await ready(broker)
    async with connected(broker.requester_url) as peer:
        for kind in ENDS:
            response = await peer.call(kind, {"count": 200, "size": 1})
            expected: Any = "all sent"
            if "generator" in kind:
                expected = [{"number": number, "filling": "x"} for number in range(200)]
            assert response["data"] == expected
            if "generator" in kind:
                response = await peer.call(kind, {"count": 30, "size": 50_000})
                assert (response["code"], response["error"][:23]) == ("too_large", "result of the generator")


async def test_a_worker_that_stops_lets_its_streams_end(
    programs: Programs, broker: Broker, tasks: Path
) -> None:
    worker = start_worker(programs, tasks, broker.worker_url, "--grace", "30")
    await ready(broker)
    async with connected(broker.requester_url) as peer:
        for kind in ENDS:
            await request(peer, kind, 100, stream="credit")
        for kind in ENDS:
            await eventually(
                lambda kind=kind: sent_by(tasks, kind) == STREAM_CHUNKS_COUNT_MAX,  # type: ignore[misc]
                f"{kind} waits for credit",
            )
        worker.terminate()
        await eventually(lambda: "finishing what runs" in worker.stderr, "it drains")
        for kind in ENDS:
            await credit(peer, kind, 50)
        responses: list[bool] = []
        chunks = 0
        while len(responses) < len(ENDS):
            message = await peer.receive()
            if message.get("type") == "chunk":
                chunks += 1
            elif "success" in message:
                responses.append(message["success"])
        assert (chunks, responses) == (100 * len(ENDS), [True] * len(ENDS))
        assert await asyncio.to_thread(worker.wait) == 0


async def test_what_streams_ends_with_its_link(programs: Programs, broker: Broker, tasks: Path) -> None:
    start_worker(programs, tasks, broker.worker_url)
    await ready(broker)
    async with connected(broker.requester_url) as peer:
        for kind in ENDS:
            await request(peer, kind, 1000, stream="credit")
        for kind in ENDS:
            await eventually(
                lambda kind=kind: sent_by(tasks, kind) == STREAM_CHUNKS_COUNT_MAX,  # type: ignore[misc]
                f"{kind} waits for credit",
            )
        broker.kill()
        expected = sorted(f"{kind}: {end}" for kind, end in ENDS.items())
        await eventually(lambda: sorted(notes_of(tasks)) == expected, "each has ended where it was")


async def test_a_job_streams_on_after_its_broker_was_killed(
    programs: Programs, tasks: Path, tmp_path: Path
) -> None:
    ports = ("--worker-port", lasting_port(), "--requester-port", lasting_port())
    options = (*ports, "--journal", str(tmp_path / "kept.db"))
    broker = programs.start_broker(*options)
    start_worker(programs, tasks, broker.worker_url)

    async def follow(peer: Peer, count: int) -> list[int]:
        """What so many chunks say, once each has the sequence that belongs to it."""
        numbers: list[int] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(numbers) < count:
                message = await peer.receive()
                if message.get("type") == "chunk":
                    assert (message["job_id"], message["attempt"]) == ("ticking", 1)
                    assert message["sequence"] == message["data"] + 1
                    numbers.append(message["data"])
        assert numbers == list(range(numbers[0], numbers[0] + count)), "none is missing"
        return numbers

    async with connected(broker.requester_url) as peer:
        await peer.send(
            {"type": "submit", "request_id": "s", "command": "tick", "job_id": "ticking", "receipts": True}
        )
        before = await follow(peer, 100)
    broker.kill()
    broker.wait()
    broker = await asyncio.to_thread(programs.start_broker, *options)
    await ready(broker)
    async with connected(broker.requester_url) as peer:
        await peer.send({"type": "job", "request_id": "j", "job_id": "ticking", "receipts": True})
        after = await follow(peer, 100)
        assert after[0] > before[-1] + 1, "what nobody could get was dropped"
        (tasks / "enough").touch()
        await peer.send({"type": "await", "request_id": "a", "job_id": "ticking"})
        async with asyncio.timeout(PATIENCE_S):
            while (message := await peer.receive()).get("request_id") != "a":
                pass
        assert (message["success"], message["data"]) == (True, "ticked"), json.dumps(message)


def test_the_example_of_a_progress_bar_shows_each_part(programs: Programs, broker: Broker) -> None:
    examples = Path(__file__).parents[2] / "examples"
    start_worker(programs, examples, broker.worker_url)
    wait_until(broker.workers, "the worker")
    example = programs.start(str(examples / "progress_bar.py"), broker.requester_url)
    assert example.wait() == 0, example.stderr
    lines = example.stdout.splitlines()
    assert lines[:10] == [f"picture {number} is ready" for number in range(1, 11)]
    assert lines[10].startswith("picture 10 of 10 ")
    assert "100%" in lines[10]
