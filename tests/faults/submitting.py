"""A submitter as a program of its own: `submitting.py URL NAME RATE`.

It submits RATE jobs a second, of KINDS in turn by chance (NAME is the seed, and part of each job_id), until SIGTERM;
then it waits for the last receipts. A job without a receipt is submitted again, with its job_id, over the next
connection. Prints `sent ID` before a job is sent for the first time, `receipt ID DUPLICATE` for its receipt, `refused
ID CODE` for a job that it gives up, and at last `done COUNT`. `read_submissions` reads that.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import websockets
from websockets.asyncio.client import ClientConnection

from tests.processes import Program

PATH: Final = __file__
RETRY_S: Final = 0.02
KINDS: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "echo": (20, {"command": "echo", "data": {"message": "x"}}),
    "nap": (20, {"command": "nap", "data": {"seconds": 0.1}}),
    "once": (10, {"command": "nap", "data": {"seconds": 0.05}, "at_most_once": True}),
    "flaky": (10, {"command": "flaky", "data": {"failures": 1}, "backoff": 0.05}),
    "broken": (5, {"command": "flaky", "data": {"failures": 9}, "backoff": 0.05, "attempts": 2}),
    "later": (10, {"command": "echo", "data": {}, "delay": 0.2}),
    "urgent": (5, {"command": "echo", "data": {}, "priority": 9}),
    "keyed": (5, {"command": "echo", "data": {}, "key": "the key"}),
    "after": (10, {"command": "echo", "data": {}}),
}
"""Share (a weight) and message of each kind. `after` waits for the echo before it."""


class Submissions(NamedTuple):
    """What a submitter knows: `sent`, `receipts` and `refused` are job_ids; all that were sent, that have their
    receipt, and that it gave up."""

    sent: set[str]
    receipts: set[str]
    refused: set[str]


def read_submissions(programs: Iterable[Program]) -> Submissions:
    """The books of submitters, together. Raises AssertionError if a job has two receipts."""
    printed = "".join(program.stdout for program in programs)
    receipts = re.findall(r"^receipt (\S+) ", printed, re.MULTILINE)
    assert len(receipts) == len(set(receipts)), "a job has two receipts"
    return Submissions(
        set(re.findall(r"^sent (\S+)$", printed, re.MULTILINE)),
        set(receipts),
        set(re.findall(r"^refused (\S+) ", printed, re.MULTILINE)),
    )


def kind_of(job_id: str) -> str:
    """The kind of a job of a submitter."""
    return job_id.split("-", maxsplit=1)[0]


def _say(*words: object) -> None:
    os.write(1, f"{' '.join(map(str, words))}\n".encode())  # past any buffer, which a SIGKILL would empty


class Submitter:
    """`pending`: the messages without a receipt, by request_id."""

    def __init__(self, url: str, name: str, rate: float) -> None:
        self.is_stopping = False
        self._url = url
        self._name = name
        self._interval_s = 1 / rate
        self._random = random.Random(name)
        self._pending: dict[str, str] = {}
        self._count = 0
        self._last_echo: str | None = None

    async def run(self) -> None:
        while not (self.is_stopping and not self._pending):
            try:
                async with websockets.connect(self._url, ping_interval=None, compression=None) as connection:
                    for message in tuple(self._pending.values()):
                        await connection.send(message)
                    sending = asyncio.create_task(self._send(connection))
                    try:
                        await self._read(connection)
                    finally:
                        sending.cancel()
                        await asyncio.wait({sending})
            except (OSError, websockets.WebSocketException):
                await asyncio.sleep(RETRY_S)
        _say("done", self._count)

    async def _send(self, connection: ClientConnection) -> None:
        while not self.is_stopping:
            await asyncio.sleep(self._interval_s)
            job_id, message = self._make()
            self._pending[job_id] = message
            _say("sent", job_id)
            with contextlib.suppress(websockets.ConnectionClosed):  # the reader sees it too
                await connection.send(message)
        if not self._pending:
            await connection.close()  # nothing else will come

    async def _read(self, connection: ClientConnection) -> None:
        while not (self.is_stopping and not self._pending):
            answer = json.loads(await connection.recv())
            job_id = answer["request_id"]
            if answer.get("type") == "receipt":
                assert answer["job_id"] == job_id, answer
                _say("receipt", job_id, answer["duplicate"])
            else:
                _say("refused", job_id, answer["code"])
            del self._pending[job_id]

    def _make(self) -> tuple[str, str]:
        self._count += 1
        (kind,) = self._random.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
        job_id = f"{kind}-{self._name}-{self._count}"
        options = dict(KINDS[kind][1])
        if kind == "after" and self._last_echo is not None:
            options["after"] = [self._last_echo]
        if kind == "echo":
            self._last_echo = job_id
        return job_id, json.dumps({"type": "submit", "request_id": job_id, "job_id": job_id, **options})


async def _main(url: str, name: str, rate: float) -> None:
    submitter = Submitter(url, name, rate)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: setattr(submitter, "is_stopping", True)
    )
    await submitter.run()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
