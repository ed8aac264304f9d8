"""Names, labels, request ids, results and error texts with terminal escapes: an operator's terminal shows them and
executes none, no line of a log can be forged, and JSON keeps every value as it is."""

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.caller import calling
from tests.integration.peers import connected, eventually, serving
from tests.processes import Broker
from tests.terminals import run_at_terminal

EVIL = "\x1b]0;owned\x07\x1b[2J\r\n00:00:00 ERROR   forged\x9b31m\u202e\u2066\u061c\u200f\x7f\x00"
"""Sets the title, clears the screen, forges a line of the log, changes colour (C1), turns the text round, and more."""
SHOWN = r"\x1b]0;owned\x07\x1b[2J\r\n00:00:00 ERROR   forged\x9b31m\u202e\u2066\u061c\u200f\x7f\x00"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[[0-9]*[AK]|\r(?=\n)|(?<=\n)\r|\r(?=\x1b\[)")
"""What our own tables, colours and progress bars need of a terminal, and the line ends that it makes."""
ASKED_S_MAX = 30


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `taskferry`, in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "taskferry.cli", *(argument.encode() for argument in arguments)],
        capture_output=True,
        timeout=ASKED_S_MAX,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def run_on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Exit code and all that reaches a terminal, less what is ours."""
    code, seen = run_at_terminal(
        [sys.executable, "-m", "taskferry.cli", *(argument.encode() for argument in arguments)],
        typed=None,
        environment={"COLUMNS": "1000"},
    )
    return code, OURS.sub("", seen)


def assert_harmless(seen: str) -> None:
    found = OBEYED.search(seen)
    assert found is None, (found, seen)
    assert "\n00:00:00" not in seen


async def run_both_ways(*arguments: str) -> list[tuple[int, str]]:
    """Exit code and all that is printed: on a terminal, and in a pipe."""
    on_terminal, (code, stdout, stderr) = await asyncio.gather(
        asyncio.to_thread(run_on_a_terminal, *arguments), asyncio.to_thread(run, *arguments)
    )
    return [on_terminal, (code, stdout + stderr)]


async def fail(_: Any) -> None:
    raise RuntimeError(EVIL)


@pytest.mark.parametrize("field", ["name", "commands", "canary"])
async def test_names_cannot_hold_them(broker: Broker, field: str) -> None:
    async with connected(broker.worker_url) as worker:
        value = [EVIL] if field == "commands" else EVIL
        await worker.send({"type": "connect", "data": {"commands": ["same"], field: value}})
        refused = await worker.receive()
        assert (refused["type"], refused["data"]["code"]) == ("error", "bad_message")
        assert refused["data"]["error"].startswith(f"data.{field}")
    assert_harmless(broker.stderr)


async def test_nothing_of_a_peer_is_executed_by_the_terminal_of_an_operator(broker: Broker) -> None:
    at, http = ("--broker", broker.requester_url), ("--http", broker.http_url)
    argument = EVIL.replace("\x00", "")  # which no argument of a program can hold
    blocked = asyncio.Event()

    async def block(_: Any) -> None:
        await blocked.wait()

    handlers = {"block": block, "same": lambda data: data, "fail": fail}
    labels = {EVIL: EVIL}
    async with (
        serving(broker.worker_url, handlers, name="w", labels=labels, concurrency=2, sdk=EVIL),
        calling(broker.requester_url) as caller,
    ):
        running = await caller.send("block", request_id=argument, timeout=60)
        await caller.send("block", timeout=60)
        waiting = await caller.send("block", request_id=EVIL, timeout=60, target={EVIL: EVIL})
        await eventually(lambda: broker.status()["queued_count"] == 1, "one waits")
        for arguments, code, text in (
            (("workers", *http), 0, f"{SHOWN}={SHOWN}"),
            (("explain", *http), 0, SHOWN),
            (("explain", argument, *http), 0, SHOWN.removesuffix(r"\x00")),
            (("explain", f"{argument}?", *http), 1, "no request"),
            (("drain", argument, *http), 1, "no connected worker"),
        ):
            for seen_code, seen in await run_both_ways(*arguments):
                assert (seen_code, text in seen) == (code, True), (arguments, seen)
                assert_harmless(seen)
        (row,) = json.loads((await asyncio.to_thread(run, "workers", "--json", *http))[1])["workers"]
        assert row["labels"] == labels
        found = json.loads((await asyncio.to_thread(run, "explain", "--json", *http))[1])["requests"]
        assert [(request["request_id"], request["target"]) for request in found] == [(EVIL, labels)]
        blocked.set()
        assert (await running)["success"]
        assert (await waiting)["success"]

        for words, code in (
            (("fail", *at), 1),
            (("fail", "--count", "3", *at), 1),
            (("same", f"value={json.dumps(EVIL)}", *at), 0),
            (("same", json.dumps(EVIL), "--raw", *at), 0),
            (("same", "--target", argument, *at), 4),
            ((argument, *at), 4),
        ):
            is_raw = "--raw" in words
            terminal, pipe = await run_both_ways("request", *words)
            assert (terminal[0], pipe[0]) == (code, code), (words, terminal, pipe)
            if is_raw:  # its lines are kept; in a pipe, all of it
                assert OBEYED.search(terminal[1]) is None
                assert pipe[1] == f"{EVIL}\n"
            else:
                assert_harmless(terminal[1])
                assert_harmless(pipe[1])
        for command, key, expected in (("same", "data", {"v": EVIL}), ("fail", "error", EVIL)):
            data = f"v={json.dumps(EVIL)}"
            _, stdout, _ = await asyncio.to_thread(run, "request", command, data, "--json", *at)
            assert json.loads(stdout)[key] == expected
            assert_harmless(stdout)
    assert_harmless(broker.stderr)


async def test_the_reason_of_a_worker_that_leaves_is_one_line_of_the_log(broker: Broker) -> None:
    async with connected(broker.worker_url) as worker:
        await worker.join("w", "same")
        await worker.send({"type": "disconnect", "data": {"reason": EVIL}})
    await asyncio.to_thread(broker.wait_for_stderr, re.escape(f"worker w is leaving: {SHOWN}"))
    assert_harmless(broker.stderr)
