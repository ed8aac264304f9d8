"""Gathers, broadcasts and messages of the user's own, through real processes."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from taskferry.requester import (
    BadRequest,
    BlockingRequester,
    GatheredItem,
    Message,
    NoAvailableWorkers,
    NotRepresentable,
    Requester,
    UnknownMessageType,
    UnknownReceiver,
)

from tests.integration.peers import eventually
from tests.processes import Broker, Program, Programs, programs_in, wait_until
from tests.terminals import run_at_terminal
from tests.unit.layout.source_tree import ROOT

WORKER = """
import asyncio
import sys
from pathlib import Path
from taskferry.worker import CommandError, Message, Worker

name, zone, folder = sys.argv[1:4]
worker = Worker(name=name, labels={"zone": zone}, concurrency=4, encoding=sys.argv[4])

@worker.command("gather_name")
async def say_name(wait: float = 0) -> str:
    await asyncio.sleep(wait)
    return name

@worker.command("gather_slow")
async def slow() -> str:
    if zone == "far":
        Path(folder, f"{name}.slow").touch()
        await asyncio.sleep(60)
    return name

@worker.command("gather_odd")
async def odd() -> str:
    if zone == "far":
        raise CommandError("no such thing here", code="not_here")
    return name

@worker.message("note")
async def note(message: Message) -> None:
    Path(folder, f"{name}.note").write_text(f"{message.data} from {message.sender}")

@worker.message("echo")
def echo(message: Message) -> None:
    worker.send("echoed", {"data": message.data, "by": name}, to=message.sender)

@worker.message("fails")
def fails(message: Message) -> None:
    raise ValueError("no good")

@worker.message("count")
def count(message: Message) -> None:
    worker.send("ignored", worker.ignored_count, to=message.sender)

if __name__ == "__main__":
    worker.run(sys.argv[5])
"""
NAMES = ("near-1", "near-2", "far-1")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with programs_in(tmp_path_factory.mktemp("gathers")) as all_programs:
        yield all_programs


@pytest.fixture(scope="module")
def broker(programs: Programs) -> Broker:
    return programs.start_broker("--journal", "none")


def start_worker(programs: Programs, broker: Broker, name: str) -> Program:
    script = programs.folder / "gathering.py"
    script.write_text(WORKER)
    encoding = "json" if name.endswith("1") else "msgpack"
    arguments = (name, name.partition("-")[0], str(programs.folder), encoding, broker.worker_url)
    return programs.start(str(script), *arguments)


@pytest.fixture(scope="module")
def workers(programs: Programs, broker: Broker) -> dict[str, Program]:
    started = {name: start_worker(programs, broker, name) for name in NAMES}
    wait_until(lambda: set(NAMES) <= broker.workers().keys(), "the workers have joined")
    return started


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_gather_has_an_item_of_each_worker(broker: Broker, encoding: str) -> None:
    async with Requester(broker.requester_url, encoding=encoding) as requester:
        answer = await requester.gather("gather_name")
        assert answer.complete
        assert answer.missing == ()
        assert answer.results == {name: name for name in NAMES}
        answer = await requester.gather("gather_name", {"wait": 0.01}, target={"zone": "near"}, batch=1)
        assert answer.results.keys() == {"near-1", "near-2"}
        answer = await requester.gather("gather_odd")
        (failed,) = (item for item in answer.items if not item.success)
        assert failed == GatheredItem("far-1", False, None, "no such thing here", "not_here", None)
        assert answer.complete


@pytest.mark.usefixtures("workers")
async def test_items_are_reported_as_they_come_and_the_first_ones_are_enough(broker: Broker) -> None:
    async with Requester(broker.requester_url) as requester:
        seen: list[str] = []
        answer = await requester.gather(
            "gather_slow", expect=2, timeout=30, on_item=lambda item: seen.append(item.worker_id)
        )
        assert sorted(seen) == ["near-1", "near-2"] == sorted(answer.results)
        assert (answer.missing, answer.complete) == (("far-1",), True)
        assert [item.worker_id for item in answer.items] == seen


@pytest.mark.usefixtures("workers")
async def test_at_the_deadline_there_is_what_has_come(broker: Broker) -> None:
    async with Requester(broker.requester_url) as requester:
        answer = await requester.gather("gather_slow", timeout=0.5)
        assert (answer.missing, answer.complete) == (("far-1",), False)
        assert answer.results.keys() == {"near-1", "near-2"}


async def test_a_worker_that_is_killed_is_lost_and_one_that_joins_is_not_in_it(
    programs: Programs, broker: Broker, workers: dict[str, Program]
) -> None:
    mark = programs.folder / "far-1.slow"
    mark.unlink(missing_ok=True)
    async with Requester(broker.requester_url) as requester:
        gathering = asyncio.create_task(requester.gather("gather_slow", timeout=60))
        await eventually(mark.exists, "the far worker runs it")
        late = start_worker(programs, broker, "late-1")
        await eventually(lambda: "late-1" in broker.workers(), "another worker has joined")
        workers["far-1"].send_signal(signal.SIGKILL)
        answer = await gathering
        assert answer.complete
        assert {item.worker_id: item.code for item in answer.items} == {
            "near-1": None, "near-2": None, "far-1": "worker_lost",
        }  # fmt: skip
    late.terminate()
    late.wait()
    workers["far-1"] = start_worker(programs, broker, "far-1")
    await eventually(lambda: broker.workers().keys() == set(NAMES), "the fleet is whole again")


@pytest.mark.usefixtures("workers")
async def test_a_gather_that_is_not_wanted_any_more_is_cancelled(programs: Programs, broker: Broker) -> None:
    mark = programs.folder / "far-1.slow"
    mark.unlink(missing_ok=True)
    async with Requester(broker.requester_url) as requester:
        gathering = asyncio.create_task(requester.gather("gather_slow", timeout=60))
        await eventually(mark.exists, "the far worker runs it")
        assert broker.worker("far-1")["in_flight"] == 1
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        await eventually(lambda: broker.worker("far-1")["in_flight"] == 0, "its slot is free")


@pytest.mark.usefixtures("workers")
def test_the_blocking_requester_gathers_as_well(broker: Broker) -> None:
    with BlockingRequester(broker.requester_url) as requester:
        assert requester.gather("gather_name").results == {name: name for name in NAMES}
        threads: list[threading.Thread] = []
        answer = requester.gather("gather_name", on_item=lambda _: threads.append(threading.current_thread()))
        assert len(answer.items) == 3
        assert set(threads) == {threading.current_thread()}
        with pytest.raises(NoAvailableWorkers):
            requester.gather("nobody")


@pytest.mark.usefixtures("workers")
async def test_what_a_gather_is_asked_with_is_checked(broker: Broker) -> None:
    async with Requester(broker.requester_url) as requester:
        wrong: Any = 1.5
        for options in ({"expect": 0}, {"expect": wrong}, {"batch": "many"}):
            with pytest.raises(BadRequest, match=r"^gather: "):
                await requester.gather("gather_name", **options)
        with pytest.raises(NotRepresentable):
            await requester.gather("gather_name", type=int)
        with pytest.raises(NotRepresentable):
            await requester.gather("gather_name", type=int, on_item=lambda _: None)
        typed = await requester.gather("gather_odd", type=str)
        assert len(typed.items) == 3


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_broadcast_reaches_the_handlers_of_its_kind(
    programs: Programs, broker: Broker, encoding: str
) -> None:
    notes = [programs.folder / f"{name}.note" for name in NAMES]
    for path in notes:
        path.unlink(missing_ok=True)

    def read(path: Path) -> str:
        return path.read_text() if path.exists() else ""

    async with Requester(broker.requester_url, encoding=encoding) as requester:
        assert await requester.broadcast("note", [1, "two"]) == 3
        await eventually(lambda: all(read(path) for path in notes), "all have noted it")
        assert {read(path).partition(" from ")[0] for path in notes} == {"[1, 'two']"}
        assert await requester.broadcast("note", {"n": 2}, target={"zone": "far"}) == 1
        await eventually(lambda: read(notes[2]).startswith("{'n': 2}"), "the far one has noted that")
        assert await requester.broadcast("nobody-handles-this") == 3


@pytest.mark.usefixtures("workers")
async def test_a_worker_and_a_requester_talk(broker: Broker) -> None:
    async with Requester(broker.requester_url) as requester:
        got: list[Message] = []

        @requester.on_message("echoed")
        async def echoed(message: Message) -> None:
            got.append(message)

        for number, name in enumerate(NAMES):
            await requester.send("echo", {"n": number}, to=name)
        await eventually(lambda: len(got) == 3, "all have answered")
        expected = [(name, {"data": {"n": number}, "by": name}) for number, name in enumerate(NAMES)]
        assert sorted((m.sender, m.data) for m in got) == sorted(expected, key=str)
        with pytest.raises(UnknownReceiver):
            await requester.send("echo", to="nobody")
        with pytest.raises(UnknownMessageType):
            await requester.send("echo")
        with pytest.raises(ValueError, match="already a handler"):
            requester.on_message("echoed")(echoed)


async def test_a_handler_that_fails_is_logged_and_what_nobody_handles_is_counted(
    broker: Broker, workers: dict[str, Program]
) -> None:
    with BlockingRequester(broker.requester_url) as requester:
        counts: list[int] = []

        @requester.on_message("ignored")
        def ignored(message: Message) -> None:
            counts.append(message.data)

        requester.send("fails", to="near-1")
        workers["near-1"].wait_for_stderr("message fails: its handler raised ValueError: no good")
        requester.send("count", to="near-1")
        await eventually(lambda: len(counts) == 1, "it says how many it has ignored")
        requester.send("of no kind", to="near-1")
        requester.send("count", to="near-1")
        await eventually(lambda: len(counts) == 2, "it has ignored one more")
        assert counts[1] == counts[0] + 1


# --- the command line -----------------------------------------------------------------------------------------------


def taskferry(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "taskferry.cli", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("workers")
def test_in_a_pipe_each_item_is_a_line_of_json(broker: Broker) -> None:
    where = ("--broker", broker.requester_url)
    code, out, err = taskferry("gather", "gather_name", "wait=0.01", *where, "--batch", "50%")
    items = [json.loads(line) for line in out.splitlines()]
    assert sorted(item["worker_id"] for item in items) == sorted(NAMES)
    assert all(item == {"worker_id": item["data"], "success": True, "data": item["data"]} for item in items)
    assert (code, err) == (0, "")
    code, out, err = taskferry("gather", "gather_odd", *where)
    assert {json.loads(line)["worker_id"]: json.loads(line).get("code") for line in out.splitlines()} == {
        "near-1": None, "near-2": None, "far-1": "not_here",
    }  # fmt: skip
    assert (code, err) == (1, "")


@pytest.mark.usefixtures("workers")
def test_what_is_missing_is_named(broker: Broker) -> None:
    where = ("--broker", broker.requester_url)
    code, out, err = taskferry("gather", "gather_slow", *where, "--timeout", "0.5")
    assert (code, len(out.splitlines())) == (3, 2)
    assert err == "incomplete: 2 of 3 workers have succeeded; no answer from far-1\n"
    code, out, err = taskferry("gather", "gather_slow", *where, "--expect", "2")
    assert (code, len(out.splitlines())) == (0, 2)
    assert err == "complete: 2 of 3 workers have succeeded; no answer from far-1\n"
    code, out, err = taskferry("gather", "gather_odd", *where, "--expect", "3", "--target", "zone=far")
    assert code == 1
    assert err == "incomplete: 0 of 1 workers have succeeded\n"


@pytest.mark.usefixtures("workers")
def test_on_a_terminal_a_table_grows(broker: Broker) -> None:
    code, seen = run_at_terminal(
        [sys.executable, "-m", "taskferry.cli", "gather", "gather_odd", "--broker", broker.requester_url]
    )
    assert code == 1
    for text in ("worker", "near-1", "near-2", "no such thing here"):
        assert text in seen


@pytest.mark.usefixtures("workers")
def test_a_broadcast_by_hand(programs: Programs, broker: Broker) -> None:
    where = ("--broker", broker.requester_url)
    note = programs.folder / "far-1.note"
    note.unlink(missing_ok=True)
    code, out, _ = taskferry(
        "broadcast", "lunch", "is", "ready", "--kind", "note", "--label", "zone=far", *where
    )
    assert (code, json.loads(out)) == (0, {"count": 1})
    wait_until(lambda: note.exists() and note.read_text().startswith("lunch is ready from "), "it is noted")
    code, out, _ = taskferry("broadcast", '{"n": 1}', "--json", *where)
    assert (code, json.loads(out)) == (0, {"count": 3})


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("gather", "c", "--expect", "most"), "--expect: 'most' is no number, no share such as 50% or 0.5"),
        (("gather", "c", "{"), "DATA: "),
        (("gather", "c", "--target", "w", "--label", "a=b"), "--target names one worker"),
        (("broadcast", "{"), "MESSAGE: "),
        (("broadcast",), "Missing argument"),
    ],
)
def test_a_wrong_word_is_one_line(words: tuple[str, ...], text: str) -> None:
    code, out, err = taskferry(*words)
    assert (code, out) == (2, "")
    assert text in err


def test_errors_of_the_broker_are_one_line(broker: Broker) -> None:
    where = ("--broker", broker.requester_url)
    code, out, err = taskferry("gather", "nobody", *where)
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert err.startswith("error: No available workers: no worker serves 'nobody'")
    code, _, err = taskferry("gather", "gather_name", "--expect", "0", *where)
    assert code == 1
    assert err.startswith("error: gather: Expected `int` >= 1")


# --- the example ----------------------------------------------------------------------------------------------------


def test_the_example_follows_files_on_many_machines(programs: Programs, tmp_path: Path) -> None:
    broker = programs.start_broker("--journal", "none")
    script = str(ROOT / "examples" / "tail_everywhere.py")
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    serving = []
    for path in logs:
        path.write_text("old\n")
        serving.append(programs.start(script, "serve", broker.worker_url, str(path)))
    wait_until(lambda: len(broker.workers()) == 2, "both serve")
    tail = programs.start(script, broker.requester_url)
    for number in range(3):

        def is_shown(number: int = number) -> bool:
            """Lines that were written before it began to follow are not shown."""
            for log in logs:
                with log.open("a") as file:
                    file.write(f"line {number} of {log.name}\n")
            return all(f": line {number} of {log.name}" in tail.stdout for log in logs)

        wait_until(is_shown, "the lines of both are shown")
    assert "old" not in tail.stdout
    shown = tail.stdout.splitlines()
    assert len({line.partition(": ")[0] for line in shown}) == 2
    for program in (tail, *serving):
        program.interrupt()
        program.wait()


# --- plugins --------------------------------------------------------------------------------------------------------

PLUGIN = """
from pathlib import Path
from taskferry.broker.plugins import on_message

@on_message("audit")
def audit(message):
    Path(__file__).with_name("audit.txt").write_text(f"{message.data} from {message.sender}")

@on_message("audit-soon")
async def audit_soon(message):
    Path(__file__).with_name("soon.txt").write_text(repr(message.data))
"""


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_plugin_handles_messages_that_are_sent_to_the_broker(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "audit_plugin.py").write_text(PLUGIN)
    with programs_in(tmp_path) as programs:
        broker = programs.start_broker(
            "--journal", "none", "--plugin", "audit_plugin", environment={"PYTHONPATH": str(tmp_path)}
        )
        async with Requester(broker.requester_url, encoding=encoding) as requester:
            await requester.send("audit", {"n": 1})
            await eventually((tmp_path / "audit.txt").exists, "it is noted")
            await requester.send("audit-soon", [None])
            await eventually((tmp_path / "soon.txt").exists, "that is noted, too")
            with pytest.raises(UnknownMessageType):
                await requester.send("other")


def test_a_plugin_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    code, out, err = taskferry("broker", "--plugin", "there.is.none")
    assert (code, out) == (2, "")
    assert "plugins: 'there.is.none' cannot be imported: ModuleNotFoundError: No module named 'there'" in err
    code, _, err = taskferry("broker", "--plugin", "no module")
    assert code == 2
    assert "expected the name of a Python module" in err
