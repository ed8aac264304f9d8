"""A listener of a worker's steps is notified of each assignment once and in order, however it ends."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX
from taskferry.protocol.messages import AssignmentMessage, Call
from taskferry.worker import CommandError, Context, Worker, limits
from taskferry.worker.command import Execution
from taskferry.worker.executors import Executors
from taskferry.worker.failure_log import FailureLog
from taskferry.worker.runner import Runner

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S

RESULT_SIZE_BYTES_MAX = 1000


class Recorder:
    """Writes the steps down, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def received(self, message: AssignmentMessage) -> None:
        self._write(f"received {message.msg_id}")

    def starts(self, msg_id: str, function: Callable[..., Any], execution: Execution) -> Callable[..., Any]:
        self._write(f"starts {msg_id} as {execution.value}")
        return function

    def ended(self, msg_id: str, code: str | None, error: BaseException | None) -> None:
        raised = "" if error is None else f" {type(error).__name__}"
        self._write(f"ended {msg_id} {code}{raised}")

    def _write(self, line: str) -> None:
        self.lines.append(line)
        self._changed.set()

    async def having(self, count: int) -> list[str]:
        """The lines, once there are `count`."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.lines) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.lines


class Stage:
    """A runner with one slot whose steps are written down."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.began = asyncio.Event()
        self.may_end = threading.Event()
        self.recorder = Recorder()
        self.responses: list[Any] = []
        worker = Worker(concurrency=1)
        handlers = (
            self.double,
            self.sleep,
            self.fail,
            self.fail_on_purpose,
            self.return_lock,
            self.return_text,
        )
        for handler in (*handlers, self.double_in_thread, self.fail_in_thread, self.wait_in_thread):
            worker.command()(handler)
        for name in ("square", "fail_awkwardly", "die", "take"):
            worker.command(executor="process")(getattr(process_handlers, name))
        self.executors = Executors(worker.settings)
        self.runner = Runner(
            worker.commands,
            self.executors,
            CODECS[Encoding.JSON],
            concurrency=1,
            failure_log=FailureLog(keeps_words=False),
        )
        self.runner.link_opened(
            lambda payload: self.responses.append(msgspec.json.decode(payload)),
            worker_id="w",
            message_size_bytes_max=ENVELOPE_SIZE_BYTES_MAX + RESULT_SIZE_BYTES_MAX,
            steps=self.recorder,
        )

    async def double(self, number: int) -> int:
        return number * 2

    async def sleep(self) -> None:
        self.began.set()
        await asyncio.sleep(PATIENCE_S)

    async def fail(self) -> None:
        raise ValueError("width must be even")

    async def fail_on_purpose(self) -> None:
        raise CommandError("too dark", code="too_dark")

    async def return_lock(self) -> Any:
        return threading.Lock()

    async def return_text(self) -> str:
        return "x" * RESULT_SIZE_BYTES_MAX

    def double_in_thread(self, number: int) -> int:
        return number * 2

    def fail_in_thread(self) -> None:
        raise ValueError("width must be even")

    def wait_in_thread(self, context: Context) -> None:
        self.loop.call_soon_threadsafe(self.began.set)
        self.may_end.wait(PATIENCE_S)
        context.raise_if_cancelled()

    def assign(
        self, command: str, params: object = None, *, msg_id: str = "m", timeout_s: float = PATIENCE_S
    ) -> bool:
        call = Call(command, msgspec.Raw(msgspec.json.encode(params or {})), timeout_s, f"r-{msg_id}")
        return self.runner.start(AssignmentMessage(msg_id, 0.0, call), time.monotonic())

    async def lines_of(self, command: str, params: object) -> list[str]:
        """The steps of one assignment, which ends with one response."""
        self.assign(command, params)
        lines = await self.recorder.having(3)
        assert [response["msg_id"] for response in self.responses] == ["m"]
        return lines


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.may_end.set()
    await stage.runner.stop()
    stage.executors.close()


@pytest.mark.parametrize(
    ("command", "params", "end"),
    [
        ("double", {"number": 1}, "None"),
        ("fail", {}, "handler_error ValueError"),
        ("fail_on_purpose", {}, "too_dark CommandError"),
        ("return_lock", {}, "handler_error"),
        ("return_text", {}, "too_large"),
    ],
)
async def test_a_coroutine(command: str, params: dict[str, object], end: str, stage: Stage) -> None:
    assert await stage.lines_of(command, params) == [
        "received m",
        "starts m as coroutine",
        f"ended m {end}",
    ]


@pytest.mark.parametrize(
    ("command", "params", "end"),
    [("double_in_thread", {"number": 1}, "None"), ("fail_in_thread", {}, "handler_error ValueError")],
)
async def test_a_thread(command: str, params: dict[str, object], end: str, stage: Stage) -> None:
    assert await stage.lines_of(command, params) == ["received m", "starts m as thread", f"ended m {end}"]


async def test_a_process(stage: Stage) -> None:
    # One test, because a process takes longer to start than all of this.
    for command, params, end in (
        ("square", {"number": 2}, "None"),
        ("fail_awkwardly", {}, "handler_error"),
        ("take", {"clinging": {"number": 1}}, "handler_error TypeError"),
        ("die", {}, "worker_lost"),
    ):
        stage.recorder.lines.clear()
        stage.responses.clear()
        lines = await stage.lines_of(command, params)
        assert lines == ["received m", "starts m as process", f"ended m {end}"]


async def test_what_is_refused_never_starts(stage: Stage) -> None:
    stage.assign("strange", msg_id="a")
    stage.assign("double", {"number": "x"}, msg_id="b")
    stage.assign("sleep", msg_id="c")
    stage.assign("sleep", msg_id="d")  # the only slot is taken
    assert stage.recorder.lines == [
        "received a",
        "ended a unknown_command",
        "received b",
        "ended b bad_request BindingError",
        "received c",
        "starts c as coroutine",
        "received d",
        "ended d handler_error",
    ]


async def test_what_runs_already_is_no_step(stage: Stage) -> None:
    assert stage.assign("sleep")
    assert not stage.assign("sleep")
    assert stage.recorder.lines == ["received m", "starts m as coroutine"]


async def test_a_coroutine_is_cancelled(stage: Stage) -> None:
    stage.assign("sleep")
    await stage.began.wait()
    stage.runner.cancel("m", "by the test")
    assert (await stage.recorder.having(3))[2] == "ended m cancelled CancelledError"


async def test_a_coroutine_is_cancelled_before_it_has_started(stage: Stage) -> None:
    stage.assign("sleep", timeout_s=0.0)
    stage.runner.cancel("m", "by the test")
    assert (await stage.recorder.having(3))[2].startswith("ended m cancelled")


async def test_a_thread_is_cancelled(stage: Stage) -> None:
    stage.assign("wait_in_thread")
    await stage.began.wait()
    stage.runner.cancel("m", "by the test")
    stage.may_end.set()
    assert (await stage.recorder.having(3))[2] == "ended m cancelled ContextCancelled"


async def test_a_deadline_passes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEADLINE_ALLOWANCE_S", 0.0)
    stage.assign("sleep", timeout_s=0.05)
    assert (await stage.recorder.having(3))[2] == "ended m cancelled CancelledError"


@pytest.mark.parametrize("command", ["sleep", "wait_in_thread"])
async def test_the_worker_stops(command: str, stage: Stage) -> None:
    stage.assign(command)
    await stage.began.wait()
    stopping = asyncio.ensure_future(stage.runner.stop())
    await asyncio.sleep(0)
    stage.may_end.set()
    await stopping
    assert (await stage.recorder.having(3))[2].startswith("ended m cancelled")
    assert stage.responses == []


async def test_the_listener_may_put_something_around_a_handler(stage: Stage) -> None:
    def starts(msg_id: str, function: Callable[..., Any], execution: Execution) -> Callable[..., Any]:
        return lambda number: function(number + 1)

    stage.recorder.starts = starts  # type: ignore[method-assign]
    stage.assign("double", {"number": 1})
    await stage.recorder.having(2)
    assert [response["data"]["result"] for response in stage.responses] == [4]
