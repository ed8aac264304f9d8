"""What every floor does with a message: to the workers in turn, and an answer back to the first requester in line.

A worker of these loads answers in the order of its requests, so no id is read: a message is passed on as it came.
Independent of any wire.
"""

import asyncio
import gc
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ..loop import new_event_loop

HOST = "127.0.0.1"


class Sender(Protocol):
    """A connection: `outgoing` is what this turn of the event loop has gathered for it."""

    outgoing: list[bytes]

    def flush(self) -> None:
        """Send everything gathered, in one write."""


class Relay:
    """Two kinds of connections and the way between them."""

    def __init__(self) -> None:
        self._workers: list[Sender] = []
        self._waiting: dict[Sender, deque[Sender]] = {}
        self._turn = 0
        self._unflushed: list[Sender] = []
        self._loop = asyncio.get_running_loop()

    def worker_joined(self, worker: Sender) -> None:
        self._workers.append(worker)
        self._waiting[worker] = deque()

    def worker_left(self, worker: Sender) -> None:
        self._workers.remove(worker)
        del self._waiting[worker]
        self._turn = 0

    def to_workers(self, requester: Sender, message: Sequence[bytes]) -> None:
        """One message of a requester, as the pieces to be written."""
        workers = self._workers
        worker = workers[self._turn]
        self._turn += 1
        if self._turn == len(workers):
            self._turn = 0
        self._waiting[worker].append(requester)
        self._send(worker, message)

    def to_requester(self, worker: Sender, message: Sequence[bytes]) -> None:
        """One answer of a worker, as the pieces to be written."""
        self._send(self._waiting[worker].popleft(), message)

    def _send(self, connection: Sender, message: Sequence[bytes]) -> None:
        if not connection.outgoing:
            if not self._unflushed:
                self._loop.call_soon(self._flush)
            self._unflushed.append(connection)
        connection.outgoing += message

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()


Listen = Callable[[Relay, bool], Awaitable[asyncio.Server]]
"""Starts a server for the relay's workers (True) or requesters (False), on a free port of HOST."""


def serve(listen: Listen) -> None:
    """Run a relay until SIGTERM; it prints where it listens, as a broker does."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(listen))


async def _serve(listen: Listen) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    relay = Relay()
    ports = [(await listen(relay, is_worker)).sockets[0].getsockname()[1] for is_worker in (True, False)]
    # As the broker does.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    print(f"ready: workers {HOST}:{ports[0]}  requesters {HOST}:{ports[1]}", flush=True)
    await stopping.wait()
