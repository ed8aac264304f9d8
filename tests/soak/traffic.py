"""Clients for long tests: they send good and bad messages without a pause, and account for every request.

A request is settled by exactly one response, or by the end of its connection. Nothing else is allowed.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

TIMEOUT_S: Final = 5.0
PATIENCE_S: Final = 20.0
"""A request that has neither been answered nor lost its connection by then hangs, which must not happen."""
RECONNECT_S: Final = 0.2

BAD_FRAMES: Final[list[str | bytes]] = [
    "nonsense",
    "",
    "[]",
    "{}",
    '{"command":7}',
    '{"command":"echo","timeout":-1}',
    '{"command":"echo","timeout":NaN}',
    '{"command":"echo","priority":11}',
    '{"command":"echo","request_id":"' + "x" * 129 + '"}',
    '{"command":"echo","data":' + "[" * 20_000 + "]" * 20_000 + "}",
    '{"command":"echo","data":"' + "x" * (1024 * 1024 - 4096) + '"}',
    '{"type":"unheard-of"}',
    b"\x00\xff binary",
]
"""Each gets one error, and the connection stays open."""
FATAL_FRAMES: Final[list[str | bytes]] = ["x" * (1024 * 1024 + 1)]
"""Each closes the connection."""


@dataclass(slots=True)
class Account:
    """Everything that all clients sent and got. `settled` counts requests by outcome, including `lost`: the connection
    ended first. `outcome_by_id` has the outcome of each."""

    sent_count: int = 0
    errors_count: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    outcome_by_id: dict[str, str] = field(default_factory=dict)

    def settle(self, request_id: str, outcome: str) -> None:
        assert request_id not in self.outcome_by_id, f"{request_id} is settled twice"
        self.outcome_by_id[request_id] = outcome
        self.settled[outcome] += 1


class Client:
    """One client. It keeps `in_flight_count` requests in flight, mixed with bad messages, and reconnects when its
    connection ends."""

    def __init__(
        self, number: int, url: str, account: Account, *, is_bad: bool, in_flight_count: int, keeps_ids: bool
    ) -> None:
        self._name = f"client{number}"
        self._url = url
        self._account = account
        self._is_bad = is_bad
        self._in_flight_count = in_flight_count
        self._keeps_ids = keeps_ids
        self._random = random.Random(number)
        self._count = 0
        self._ends = False

    async def run(self, ended: asyncio.Event) -> None:
        """Runs until `ended`, and then until the last of its requests is settled."""
        while not ended.is_set():
            try:
                async with websockets.connect(self._url, max_size=None, close_timeout=1) as connection:
                    await self._use(connection, ended)
            except (OSError, ConnectionClosed, InvalidHandshake):
                await asyncio.sleep(RECONNECT_S)

    async def _use(self, connection: ClientConnection, ended: asyncio.Event) -> None:
        pending: dict[str, str] = {}
        errors_due = 0
        try:
            while pending or errors_due or not ended.is_set():
                while len(pending) < self._in_flight_count and not ended.is_set():
                    await self._send_request(connection, pending)
                if self._is_bad and not ended.is_set():
                    errors_due += await self._do_something_bad(connection, pending)
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        response = json.loads(await connection.recv())
                except TimeoutError:
                    raise AssertionError(
                        f"{self._name} waits: {list(pending)}, {errors_due} errors due"
                    ) from None
                request_id = response["request_id"]
                if request_id in pending and response.get("code") != "duplicate_request_id":
                    self._check(response, pending.pop(request_id))
                else:
                    assert not response["success"], f"an unexpected answer: {response}"
                    errors_due -= 1
                    self._account.errors_count += 1
        finally:
            for request_id in pending:
                self._settle(request_id, "lost")

    async def _send_request(self, connection: ClientConnection, pending: dict[str, str]) -> None:
        self._count += 1
        request_id = f"{self._name}-{self._count}"
        text = request_id + "x" * self._random.choice([0, 10, 100, 3000])
        request = {
            "request_id": request_id,
            "command": "echo",
            "data": {"message": text},
            "timeout": TIMEOUT_S,
            "priority": self._random.randint(0, 9),
            "idempotent": self._count % 2 == 0,
        }
        pending[request_id] = text
        self._account.sent_count += 1
        await connection.send(json.dumps(request))

    async def _do_something_bad(self, connection: ClientConnection, pending: dict[str, str]) -> int:
        """Returns the number of errors that it will get."""
        what = self._random.random()
        if what < 0.2:
            await connection.send(self._random.choice(BAD_FRAMES))
            return 1
        if what < 0.25:
            request_id = next(iter(pending))
            await connection.send(json.dumps({"type": "cancel", "request_id": request_id}))
        elif what < 0.255:
            await connection.send(self._random.choice(FATAL_FRAMES))
        elif what < 0.26:
            connection.transport.abort()
        return 0

    def _check(self, response: Any, text: str) -> None:
        if response["success"]:
            assert response["data"] == f"Echo: {text}", "the result of another request"
        self._settle(response["request_id"], "success" if response["success"] else response["code"])

    def _settle(self, request_id: str, outcome: str) -> None:
        if self._keeps_ids:
            self._account.settle(request_id, outcome)
        else:
            self._account.settled[outcome] += 1
