"""A client that floods a port: `flooding.py URL KIND COUNT RATE`.

It opens COUNT connections and sends frames of KIND (of FRAMES or NAPS) as fast as the broker takes them, or RATE in a
second over all of them if that is not 0. It reads and drops whatever comes back, and connects again when it is thrown
out. Prints `flooding` once it has begun. Ends at SIGTERM."""

import itertools
import selectors
import socket
import sys
import time
from typing import Final

from tests.faults.raw_peer import CONT, PING, PONG, TEXT, address_of, frame, handshake

PATH: Final = __file__
JOIN: Final = frame(TEXT, b'{"type":"connect","data":{"commands":["flooded"]}}')
FRAMES: Final = {
    "requests": frame(TEXT, b'{"command":"unserved"}'),
    "submissions": frame(TEXT, b'{"type":"submit","command":"unserved"}'),
    "lists": frame(TEXT, b'{"type":"list","filter":{"command":"none"}}'),
    "views": frame(TEXT, b'{"type":"job","job_id":"none"}'),
    "pings": frame(PING),
    "pings with a payload": frame(PING, b"12345678"),
    "pongs": frame(PONG),
    "nonsense": frame(TEXT, b"x"),
    "fragments": frame(TEXT, b" ", first_bits=0) + frame(CONT, b"", first_bits=0) * 30 + frame(CONT, b"{}"),
    "cancels": frame(TEXT, b'{"type":"cancel","request_id":"x"}'),
    "deep nesting": frame(TEXT, b'{"command":"unserved","data":' + b"[" * 400 + b"]" * 400 + b"}"),
    "heartbeats": frame(TEXT, b'{"type":"heartbeat"}'),
    "wrong msg_ids": frame(TEXT, b'{"type":"response","msg_id":"x","data":{"success":true}}'),
}
NAPS: Final = {
    f"naps of priority {priority}": frame(
        TEXT, b'{"command":"nap","data":{"seconds":0.1},"timeout":6,"priority":%d}' % priority
    )
    for priority in (5, 6, 9)
}
"""Kinds that are served, each for a tenth of a second, if there is a worker of tasks.py."""
WORKERS: Final = ("heartbeats", "wrong msg_ids")
"""Kinds for the worker port, where they join first."""
WRITE_SIZE_BYTES: Final = 256 * 1024
STEP_S: Final = 0.001
BACKLOG_S_MAX: Final = 0.05
"""It does not catch up on more than this."""


class Flooder:
    """One connection."""

    def __init__(self, url: str, kind: str) -> None:
        self._url = url
        self._kind = kind
        self._frame = (FRAMES | NAPS)[kind]
        self._block = self._frame * (WRITE_SIZE_BYTES // len(self._frame) + 1)
        self._position = 0
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(address_of(self._url))
        self.socket.sendall(handshake() + (JOIN if self._kind in WORKERS else b""))
        self.socket.setblocking(False)
        self._position = 0

    def send(self, count: int | None) -> None:
        """Send `count` frames, or as much as the operating system takes. Raises OSError."""
        if count is not None:
            self.socket.setblocking(True)
            self.socket.sendall(self._frame * count)
            self.socket.setblocking(False)
            return
        sent = self.socket.send(memoryview(self._block)[self._position :])
        self._position = (self._position + sent) % len(self._block)

    def read(self) -> None:
        """Drop what has come. Raises OSError."""
        if not self.socket.recv(1024 * 1024):
            raise ConnectionError


def _run(url: str, kind: str, count: int, rate: int) -> None:
    flooders = [Flooder(url, kind) for _ in range(count)]
    with selectors.DefaultSelector() as selector:
        interest = selectors.EVENT_READ | (0 if rate else selectors.EVENT_WRITE)
        for flooder in flooders:
            selector.register(flooder.socket, interest, flooder)
        sys.stdout.write("flooding\n")
        sys.stdout.flush()
        began_at, sent_count, turns = time.monotonic(), 0, itertools.cycle(flooders)
        while True:
            if rate:  # not once for each response that comes back, or it would take half a core
                time.sleep(STEP_S)
            for key, events in selector.select(0 if rate else STEP_S):
                flooder = key.data
                try:
                    if events & selectors.EVENT_READ:
                        flooder.read()
                    if events & selectors.EVENT_WRITE:
                        flooder.send(None)
                except BlockingIOError:
                    pass
                except OSError:  # thrown out
                    selector.unregister(flooder.socket)
                    flooder.socket.close()
                    flooder.connect()
                    selector.register(flooder.socket, interest, flooder)
            due_count = int((time.monotonic() - began_at) * rate) - sent_count
            if due_count > rate * BACKLOG_S_MAX:  # it was stopped for a while
                began_at, sent_count, due_count = time.monotonic(), 0, 0
            if due_count > 0:
                sent_count += due_count
                next(turns).send(due_count)


if __name__ == "__main__":
    _run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
