"""Streams from handlers to callers, through real processes: every kind of handler, every kind of caller."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from taskferry.requester import BlockingRequester, Progress, Requester, WorkerLost

from tests.integration.peers import connected, eventually
from tests.processes import PATIENCE_S, Broker, Program, Programs, programs_in, wait_until
from tests.terminals import run_at_terminal

WORKER = '''
import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from taskferry.worker import Context, Worker

worker = Worker(concurrency=8)

@worker.command("stream_count")
async def count(context: Context, n: int = 10) -> str:
    for number in range(n):
        await context.progress(current=number, total=n)
        await context.send(number)
    return f"{n} sent"

@worker.command("stream_thread")
def thread(context: Context, n: int = 10) -> str:
    for number in range(n):
        context.send(number)
    return f"{n} sent"

@worker.command("stream_process", executor="process")
def process(context: Context, n: int = 10) -> str:
    for number in range(n):
        context.send(number)
    return f"{n} sent"

@worker.command("stream_yield")
def yield_(n: int = 10) -> Iterator[int]:
    yield from range(n)
    return f"{n} sent"

@worker.command("stream_async_yield")
async def async_yield(n: int = 10) -> AsyncIterator[int]:
    for number in range(n):
        yield number

@worker.command("stream_much")
async def much(context: Context, path: str, n: int = 1000, size: int = 65536) -> int:
    """Sends until it is stopped, and notes how far it came."""
    number = 0
    try:
        for number in range(1, n + 1):
            await context.send("x" * size)
            Path(path).write_text(str(number))
    except BaseException as error:
        Path(path + ".end").write_text(type(error).__name__)
        raise
    return number

@worker.command("stream_die")
async def die(context: Context, path: str) -> str:
    """Its first run ends with its worker."""
    await context.send(os.getpid())
    if not Path(path).exists():
        Path(path).touch()
        await asyncio.sleep(0.2)
        os._exit(1)
    await context.send("again")
    return "done"

@worker.command("stream_lines")
async def lines(context: Context, n: int = 3) -> dict[str, int] | None:
    for number in range(n):
        await context.progress(current=number + 1, total=n, text="line\x1b[31m")
        await context.send({"line": number, "text": "\x1b[31mred"})
        await asyncio.sleep(0.15)
    if n == 4:
        raise ValueError("broken")
    return {"sent": n} if n > 1 else None

@worker.command("stream_page")
async def page(context: Context, path: str) -> str:
    await context.progress(0.4, "page 4 of 10", current=4, total=10)
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "read"
'''

KINDS = ["stream_count", "stream_thread", "stream_process", "stream_yield", "stream_async_yield"]


def start_worker(programs: Programs, broker: Broker, *options: str) -> Program:
    (programs.folder / "stream_tasks.py").write_text(WORKER)
    count = len(broker.workers())
    worker = programs.start(
        "-m", "taskferry.worker", "stream_tasks:worker", "--broker", broker.worker_url, *options,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(lambda: len(broker.workers()) > count, "the worker")
    return worker


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with a worker, for all tests that disturb neither."""
    with programs_in(tmp_path_factory.mktemp("streams")) as programs:
        broker = programs.start_broker("--grace", "0")
        start_worker(programs, broker, "--name", "streamer")
        yield broker


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("command", KINDS)
async def test_every_kind_of_handler_streams(served: Broker, command: str, encoding: str) -> None:
    async with Requester(served.requester_url, encoding=encoding) as requester:
        stream = requester.stream(command, {"n": 300})
        assert [chunk async for chunk in stream] == [*range(300)]
        assert stream.result == (None if command == "stream_async_yield" else "300 sent")


@pytest.mark.parametrize("command", ["stream_yield", "stream_async_yield"])
async def test_a_generator_that_is_called_answers_with_all_at_once(served: Broker, command: str) -> None:
    reports: list[Progress] = []
    async with Requester(served.requester_url) as requester:
        assert await requester.call(command, {"n": 5}) == [*range(5)]
        assert await requester.call(command, {"n": 5}, on_progress=reports.append) == [*range(5)]
        assert (await requester.call("stream_count", {"n": 5}), reports) == ("5 sent", [])


def test_a_thread_takes_a_stream(served: Broker) -> None:
    with BlockingRequester(served.requester_url) as requester:
        stream = requester.stream("stream_count", {"n": 300})
        assert list(stream) == [*range(300)]
        assert stream.result == "300 sent"


async def test_progress_reaches_its_caller_before_the_result(served: Broker, tmp_path: Path) -> None:
    go = tmp_path / "go"
    reports: list[Progress] = []

    def report(progress: Progress) -> None:
        reports.append(progress)
        go.touch()

    async with Requester(served.requester_url) as requester:
        assert await requester.call("stream_page", {"path": str(go)}, on_progress=report) == "read"
    (progress,) = reports
    assert (progress.share, progress.text, progress.current, progress.total) == (0.4, "page 4 of 10", 4, 10)


async def test_many_streams_at_once_over_one_connection(served: Broker) -> None:
    async with Requester(served.requester_url, encoding="msgpack") as requester:

        async def read(number: int) -> list[int]:
            return [chunk async for chunk in requester.stream("stream_count", {"n": 100 + number})]

        streams = await asyncio.gather(*(read(number) for number in range(20)))
    assert streams == [[*range(100 + number)] for number in range(20)]


async def stalled(path: Path) -> int:
    """How many chunks a handler has sent, once it waits."""
    await eventually(path.exists, "the first chunk")
    sent = -1
    while sent != (sent := int(path.read_text() or 0)):
        await asyncio.sleep(0.2)
    return sent


async def test_a_slow_reader_pauses_its_handler_and_no_other_request(served: Broker, tmp_path: Path) -> None:
    path = tmp_path / "sent"
    async with Requester(served.requester_url) as requester:
        stream = requester.stream("stream_much", {"path": str(path), "n": 40})
        assert await anext(stream)
        assert await stalled(path) <= 6  # one taken, 256 KiB under way, one that waits
        assert await requester.call("stream_count", {"n": 3}) == "3 sent"
        assert [chunk async for chunk in requester.stream("stream_count", {"n": 100})] == [*range(100)]
        count = 1
        async for chunk in stream:
            assert len(chunk) == 65536
            count += 1
        assert (count, stream.result) == (40, 40)


async def test_leaving_a_stream_reaches_the_handler_while_it_waits(served: Broker, tmp_path: Path) -> None:
    path = tmp_path / "sent"
    async with Requester(served.requester_url) as requester:
        async with requester.stream("stream_much", {"path": str(path)}) as stream:
            await anext(stream)
            await stalled(path)
        await eventually(Path(f"{path}.end").exists, "the handler's end")
    assert Path(f"{path}.end").read_text() == "CancelledError"


async def test_a_caller_that_vanishes_ends_the_handler(
    served: Broker, programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "sent"
    async with connected(served.requester_url) as peer:
        await peer.send(
            {"request_id": "r", "command": "stream_much", "data": {"path": str(path)}, "stream": "credit"}
        )
        assert (await peer.receive())["sequence"] == 1
        peer.connection.transport.abort()
    await eventually(Path(f"{path}.end").exists, "the handler's end")
    assert int(path.read_text()) < 10


async def test_a_lost_worker_begins_again_what_may_run_twice(programs: Programs, tmp_path: Path) -> None:
    broker = programs.start_broker()
    for name in ("a", "b"):
        start_worker(programs, broker, "--name", name)
    resets: list[int] = []
    async with Requester(broker.requester_url) as requester:
        data = {"path": str(tmp_path / "died")}
        stream = requester.stream("stream_die", data, idempotent=True, on_reset=resets.append)
        first, *rest = [chunk async for chunk in stream]
        assert (len(rest), rest[1], resets, stream.result) == (2, "again", [2], "done")
        assert first != rest[0]
        start_worker(programs, broker, "--name", "c")
        (tmp_path / "died").unlink()
        with pytest.raises(WorkerLost):
            [chunk async for chunk in requester.stream("stream_die", data)]


async def test_the_first_chunk_decides_between_two_copies(programs: Programs, tmp_path: Path) -> None:
    broker = programs.start_broker()
    async with connected(broker.worker_url) as slow, connected(broker.worker_url) as quick:
        await slow.join("a", "work")
        async with Requester(broker.requester_url) as requester:
            stream = requester.stream("work", idempotent=True, hedge=0.05, timeout=60)
            reading = asyncio.create_task(collected(stream))
            first = await slow.receive_assignment()
            await quick.join("b", "work")
            second = await quick.receive_assignment()
            await quick.send({"type": "chunk", "msg_id": second["msg_id"], "sequence": 1, "data": "b"})
            cancel = await slow.receive()
            assert (cancel["type"], cancel["data"]["reason"]) == ("cancel", "answered")
            await slow.send({"type": "chunk", "msg_id": first["msg_id"], "sequence": 1, "data": "a"})
            await slow.respond(first, "a")
            assert (await quick.receive())["type"] == "credit"
            await quick.respond(second, "b")
            assert await reading == ["b"]
            assert (stream.result, stream.attempt) == ("b", 1)


async def collected(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


# --- taskferry request --stream ---


def run(served: Broker, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    options = [] if "--broker" in arguments else ["--broker", served.requester_url]
    done = subprocess.run(
        [sys.executable, "-m", "taskferry.cli", "request", *arguments, *options],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


LINES = [f'{{"line":{number},"text":"\\u001b[31mred"}}\n' for number in range(4)]


def test_the_command_prints_chunks_as_lines_and_then_the_result(served: Broker) -> None:
    assert run(served, "stream_lines", "--stream") == (0, "".join(LINES[:3]) + '{"sent":3}\n', "")
    assert run(served, "stream_lines", "n=1", "--stream") == (0, LINES[0], "")
    code, stdout, stderr = run(served, "stream_lines", "n=4", "--stream")
    assert (code, stdout) == (1, "".join(LINES))
    assert "broken" in stderr
    code, stdout, _ = run(served, "stream_lines", "n=1", "--stream", "--json")
    assert code == 0
    assert stdout.startswith(LINES[0] + '{"request_id":')


def test_a_chunk_is_printed_when_it_comes(served: Broker, tmp_path: Path) -> None:
    data = [f"path={tmp_path / 'sent'}", "size=3", "n=1000000"]
    program = subprocess.Popen(
        [sys.executable, "-m", "taskferry.cli", "request", "stream_much", *data,
         "--stream", "--raw", "--broker", served.requester_url],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    with program, program.stdout:
        assert program.stdout.readline() == b"xxx\n"
        program.send_signal(signal.SIGINT)
        program.stdout.read()
        assert program.wait(PATIENCE_S) == 130
    wait_until((tmp_path / "sent.end").exists, "the handler's end")


def test_a_stream_is_of_one_request(served: Broker) -> None:
    code, _, stderr = run(served, "stream_lines", "--stream", "--count", "3")
    assert (code, "--stream is of one request" in stderr) == (2, True)


def test_a_stream_without_a_worker_or_a_broker(served: Broker) -> None:
    code, _, stderr = run(served, "stream_nothing", "--stream")
    assert (code, "No available workers" in stderr) == (4, True)
    assert run(served, "stream_lines", "--stream", "--broker", "ws://127.0.0.1:9")[0] == 5


def test_on_a_terminal_there_is_a_bar_for_progress(served: Broker) -> None:
    code, seen = run_at_terminal(
        [sys.executable, "-m", "taskferry.cli", "request", "stream_lines", "--stream", "--broker",
         served.requester_url],
        typed=None,
        environment={"COLUMNS": "120"},
    )  # fmt: skip
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r\n", "\n")
    assert code == 0
    for line in LINES[:3]:
        assert line.strip() in seen
        assert not re.search(rf"\d%[^\r\n]*{re.escape(line.strip())}", seen), "above the bar, not behind it"
    # Of reports that come faster than they are taken the latest is shown.
    assert re.search(r"(33|67|100)% [123]/3 line\\x1b\[31m", seen)
