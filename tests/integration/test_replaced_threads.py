"""gevent and eventlet replace the threads of a whole process: what needs threads says so at once, and nothing hangs."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.each_case import each_case

TIMEOUT_S = 20

MAKE_REQUESTER = """
from taskferry.requester import BlockingRequester
try:
    BlockingRequester("ws://127.0.0.1:1")
except RuntimeError as error:
    print(error)
else:
    print("made")
"""

RUN_WORKER = """
import asyncio
from taskferry.worker import Worker
worker = Worker()
worker.command("a")(lambda: None)
for serve in (worker.run, lambda: asyncio.run(worker.serve())):
    try:
        serve()
    except RuntimeError as error:
        print(error)
"""

GEVENT = "import gevent.monkey as m; m.patch_all({})"
EVENTLET = "import eventlet as m; m.monkey_patch({})"


def printed(patch: str, program: str) -> str:
    """What the program prints after the patch."""
    if find_spec(patch.split()[1].partition(".")[0]) is None:
        pytest.skip("not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{patch}\n{program}"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout


def test_after_patch_all_of_gevent_one_line_says_what_to_call() -> None:
    call = "monkey.patch_all(thread=False, queue=False)"
    text = f"needs threads, and gevent has replaced them in this process: call {call}"
    assert printed(GEVENT.format(""), MAKE_REQUESTER) == f"BlockingRequester {text}\n"
    assert printed(GEVENT.format("thread=False"), MAKE_REQUESTER) == f"BlockingRequester {text}\n"
    assert printed(GEVENT.format(""), RUN_WORKER) == f"Worker {text}\n" * 2


def test_after_monkey_patch_of_eventlet_too() -> None:
    text = "needs threads, and eventlet has replaced them in this process: call eventlet.monkey_patch(thread=False)"
    assert printed(EVENTLET.format(""), MAKE_REQUESTER) == f"BlockingRequester {text}\n"
    assert printed(EVENTLET.format(""), RUN_WORKER) == f"Worker {text}\n" * 2


@each_case(
    "patch",
    [GEVENT.format("thread=False, queue=False"), EVENTLET.format("thread=False"), "import gevent.monkey"],
)
def test_with_threads_left_as_they_are_it_works(patch: str) -> None:
    assert printed(patch, MAKE_REQUESTER) == "made\n"
