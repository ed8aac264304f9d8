"""BlockingRequester: the same calls from plain threads, from many concurrently, and how it ends."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import msgspec
import pytest
from taskferry.requester import (
    BadRequest,
    BlockingRequester,
    Cancelled,
    CannotConnect,
    ConnectionLost,
    HandlerError,
    Response,
    WorkerTimeout,
)
from taskferry.requester.background import ThreadWaiter
from taskferry.requester.wire import OutgoingRequest

from tests.processes import wait_until
from tests.unit.requester.fake_broker import FakeBrokerThread


class Point(msgspec.Struct):
    x: int


@pytest.fixture
def broker() -> Iterator[FakeBrokerThread]:
    with FakeBrokerThread() as broker:
        yield broker


@pytest.fixture
def requester(broker: FakeBrokerThread) -> Iterator[BlockingRequester]:
    with BlockingRequester(broker.url) as requester:
        yield requester


def requester_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("taskferry requester")]


def test_a_call_returns_the_result(requester: BlockingRequester) -> None:
    assert requester.call("echo", {"message": "Hello"}) == {"message": "Hello"}
    assert requester.call("echo", {"x": 1}, type=Point) == Point(1)
    assert requester.call("echo") == {}


def test_a_failed_command_raises_in_the_calling_thread(requester: BlockingRequester) -> None:
    with pytest.raises(HandlerError, match="too blue") as caught:
        requester.call("fail", {"code": "too_blue", "error": "too blue"})
    assert caught.value.code == "too_blue"


def test_request_returns_the_whole_response(requester: BlockingRequester) -> None:
    assert requester.request("echo", 1, request_id="r1") == Response("r1", True, 1, None, "worker-1")
    failure = {"code": "too_blue", "error": "too blue", "queue_wait": 0.5}
    response = requester.request("fail", failure)
    assert (response.code, response.delivery, response.queue_wait_s) == ("too_blue", None, 0.5)


def test_options_travel_with_the_request(requester: BlockingRequester, broker: FakeBrokerThread) -> None:
    requester.connect()
    options: dict[str, Any] = {"timeout": 7.5, "idempotent": True, "priority": 1, "affinity": "a"}
    options |= {"trace": "t", "target": {"gpu": ("yes", "new")}, "hedge": "p95"}
    requester.call("echo", **options, request_id="r1")
    requester.request("echo", **options, request_id="r2")
    for sent, request_id in zip(broker.broker.requests, ("r1", "r2"), strict=True):
        assert (sent.timeout, sent.idempotent, sent.priority, sent.affinity) == (7.5, True, 1, "a")
        assert (sent.trace, sent.request_id) == ("t", request_id)
        assert (sent.target, sent.hedge) == ({"gpu": ["yes", "new"]}, "p95")


def test_both_encodings(broker: FakeBrokerThread) -> None:
    with BlockingRequester(broker.url, encoding="msgpack") as requester:
        assert requester.call("echo", b"\x00\xff") == b"\x00\xff"


def test_many_threads_at_once_each_get_their_own_results(requester: BlockingRequester) -> None:
    def work(first: int) -> list[int]:
        return [requester.call("echo", first + n) for n in range(50)]

    with ThreadPoolExecutor(32) as threads:
        for number, results in enumerate(threads.map(work, range(0, 32_000, 1000))):
            assert results == list(range(number * 1000, number * 1000 + 50))


def test_what_breaks_a_bound_is_refused(requester: BlockingRequester) -> None:
    with pytest.raises(BadRequest, match="timeout"):
        requester.call("echo", timeout=-1)
    with pytest.raises(BadRequest, match="object"):
        requester.call("echo", object())


def test_without_an_answer_a_call_ends(requester: BlockingRequester) -> None:
    with pytest.raises(WorkerTimeout):
        requester.call("never", timeout=0.1)


def test_a_broken_link_ends_calls_in_all_threads(
    requester: BlockingRequester, broker: FakeBrokerThread
) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(requester.call, "never") for _ in range(4)]
        wait_until(lambda: broker.request_count == 4, "four requests")
        broker.drop_connections()
        for call in calls:
            with pytest.raises(ConnectionLost):
                call.result(5)
    assert requester.call("echo", 1) == 1


def test_a_restart_of_the_broker_is_survived(requester: BlockingRequester, broker: FakeBrokerThread) -> None:
    assert requester.call("echo", 1) == 1
    broker.stop()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(requester.call, "echo", 2)
        broker.start()
        assert call.result(10) == 2


def test_without_a_broker_connect_says_so(broker: FakeBrokerThread) -> None:
    broker.stop()
    with BlockingRequester(broker.url) as requester:
        with pytest.raises(CannotConnect, match="connection refused"):
            requester.connect(retry=False)
        with pytest.raises(CannotConnect, match="connection refused"):
            requester.call("echo", timeout=0.1)


@pytest.mark.parametrize("url", ["localhost", "http://localhost"])
def test_a_url_that_is_none_starts_no_thread(url: str) -> None:
    count = len(requester_threads())
    with pytest.raises(ValueError, match="ws://HOST:PORT"):
        BlockingRequester(url)
    assert len(requester_threads()) == count


# --- ending ---


def test_closing_ends_calls_in_other_threads_and_the_thread(broker: FakeBrokerThread) -> None:
    count = len(requester_threads())
    requester = BlockingRequester(broker.url)
    assert repr(requester) == f"<BlockingRequester {broker.url} open>"
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(requester.call, "never") for _ in range(4)]
        wait_until(lambda: broker.request_count == 4, "four requests")
        requester.close()
        for call in calls:
            with pytest.raises(Cancelled, match="was closed"):
                call.result(5)
    assert len(requester_threads()) == count
    assert repr(requester) == f"<BlockingRequester {broker.url} closed>"
    requester.close()  # twice is fine
    for use in (lambda: requester.call("echo"), requester.connect, requester.__enter__):
        with pytest.raises(RuntimeError, match="this BlockingRequester is closed"):
            use()


def test_threads_that_call_while_it_closes_all_get_an_error(broker: FakeBrokerThread) -> None:
    requester = BlockingRequester(broker.url)
    has_begun = threading.Barrier(9)

    def work() -> str:
        has_begun.wait()
        while True:
            try:
                requester.call("echo")
            except (Cancelled, RuntimeError) as error:
                return type(error).__name__

    with ThreadPoolExecutor(8) as threads:
        ends = [threads.submit(work) for _ in range(8)]
        has_begun.wait()
        time.sleep(0.05)
        requester.close()
        assert {end.result(5) for end in ends} <= {"Cancelled", "RuntimeError"}


def test_a_call_after_the_thread_has_ended_gets_an_error(broker: FakeBrokerThread) -> None:
    # Another thread may pass the check for `closed` and submit after everything is over.
    requester = BlockingRequester(broker.url)
    requester._background.stop()
    with pytest.raises(Cancelled, match="it was not sent") as caught:
        requester.call("echo")
    assert caught.value.delivery == "not_delivered"
    requester.close()


def test_ctrl_c_before_the_loop_was_woken_loses_nothing(requester: BlockingRequester) -> None:
    # KeyboardInterrupt may be raised between any two instructions: here, after the submission, before the wake-up.
    background = requester._background
    wake = background._call
    background._call = _interrupt  # type: ignore[method-assign,assignment]  # the interrupt's moment
    with pytest.raises(KeyboardInterrupt):
        background.submit(OutgoingRequest(None, "echo", 1, 5.0), ThreadWaiter(), wants_response=False)
    background._call = wake  # type: ignore[method-assign]  # as it was
    background.abandon(ThreadWaiter())
    assert requester.call("echo", 2) == 2


def test_closing_ends_a_thread_that_waits_for_the_link(broker: FakeBrokerThread) -> None:
    broker.stop()
    requester = BlockingRequester(broker.url)
    with ThreadPoolExecutor(1) as threads:
        connecting = threads.submit(requester.connect, timeout=60)
        time.sleep(0.05)
        requester.close()
        with pytest.raises(Cancelled, match="was closed"):
            connecting.result(5)


def test_closing_in_the_moment_of_connecting_does_not_hang(broker: FakeBrokerThread) -> None:
    # uvloop drops a connection whose opening is cancelled: its end is never reported.
    for number in range(40):
        requester = BlockingRequester(broker.url)
        time.sleep(number * 0.00005)
        started_s = time.monotonic()
        requester.close()
        assert time.monotonic() - started_s < 2


def test_ctrl_c_while_waiting_for_the_link(broker: FakeBrokerThread) -> None:
    broker.stop()
    program = f"""
from taskferry.requester import BlockingRequester
with BlockingRequester({broker.url!r}) as requester:
    try:
        print("waiting", flush=True)
        requester.connect(timeout=60)
    except KeyboardInterrupt:
        print("interrupted")
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waiting\n"
        time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=20)
    assert (output, running.returncode) == ("interrupted\n", 0)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_last_reference_ends_the_thread(broker: FakeBrokerThread) -> None:
    count = len(requester_threads())
    requester = BlockingRequester(broker.url)
    requester.connect()
    assert len(requester_threads()) == count + 1
    del requester
    gc.collect()
    assert len(requester_threads()) == count


def test_a_program_that_never_closes_it_ends_at_once_and_silently(broker: FakeBrokerThread) -> None:
    program = f"""
import atexit, threading
from taskferry.requester import BlockingRequester
requester = BlockingRequester({broker.url!r})
print(requester.call("echo", "done"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    wait_until(lambda: not broker.broker.sessions, "the connection's end")


def test_ctrl_c_in_a_waiting_call_cancels_the_request(broker: FakeBrokerThread) -> None:
    program = f"""
from taskferry.requester import BlockingRequester
with BlockingRequester({broker.url!r}) as requester:
    try:
        requester.call("hold", request_id="waiting")
    except KeyboardInterrupt:
        print("interrupted", requester.call("echo", "goes on"))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as running:
        wait_until(lambda: broker.request_count == 1, "the request")
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=20)
    assert output == "interrupted goes on\n"
    assert running.returncode == 0
    assert broker.broker.cancelled == ["waiting"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_must_make_its_own(broker: FakeBrokerThread) -> None:
    program = f"""
import os, sys
from taskferry.requester import BlockingRequester
requester = BlockingRequester({broker.url!r})
requester.call("echo")
child = os.fork()
if child == 0:
    try:
        requester.call("echo")
    except RuntimeError as error:
        print(error, flush=True)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), requester.call("echo", "parent goes on"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert "belongs to process" in lines[0]
    assert "after a fork, make a new one in the child" in lines[0]
    assert lines[1] == "7 parent goes on"
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_thread_nothing_is_left_open(
    broker: FakeBrokerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as moment:
        moment.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            BlockingRequester(broker.url)
    gc.collect()  # an event loop that is not closed warns
    with BlockingRequester(broker.url) as requester:
        assert requester.call("echo", {"value": 1}) == {"value": 1}
