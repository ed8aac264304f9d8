"""Requester connections in the test's own process that keep many requests in flight and enter each in a ledger."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.faults.ledger import Ledger
from tests.processes import PATIENCE_S, Hangs

_numbers: Final = itertools.count(1)


class Caller:
    """One connection. `call` and `send` enter what they send in `ledger`, a task enters each response."""

    def __init__(self, connection: ClientConnection, ledger: Ledger) -> None:
        self.connection = connection
        self.ledger = ledger
        self._future_by_id: dict[str, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def send(self, command: str, data: Any = None, **fields: Any) -> asyncio.Future[Any]:
        """Send a request; returns the future of its response, which is None if the connection ends first."""
        request_id = fields.pop("request_id", None) or f"r{next(_numbers)}"
        message = {"request_id": request_id, "command": command, "data": data or {}, **fields}
        future = asyncio.get_running_loop().create_future()
        self._future_by_id[request_id] = future
        self.ledger.sent(request_id, is_idempotent=fields.get("idempotent", False))
        with suppress(ConnectionClosed):  # the reader reports it
            await self.connection.send(json.dumps(message))
        if self._reading.done():
            self._lose()
        return future

    async def call(self, command: str, data: Any = None, **fields: Any) -> Any:
        """The response to one request, None if the connection ends first. Raises Hangs if neither comes in time."""
        future = await self.send(command, data, **fields)
        return (await ended([future]))[0]

    async def _read(self) -> None:
        try:
            while True:
                response = json.loads(await self.connection.recv())
                self.ledger.answered(response)
                self._future_by_id.pop(response["request_id"]).set_result(response)
        except ConnectionClosed:
            pass
        finally:
            self._lose()

    def _lose(self) -> None:
        for request_id, future in self._future_by_id.items():
            self.ledger.lost(request_id)
            future.set_result(None)
        self._future_by_id.clear()

    async def close(self) -> None:
        """Close the connection. Raises what its reader has found wrong."""
        await self.connection.close()
        await self._reading


async def ended(futures: Iterable[asyncio.Future[Any]], timeout_s: float = PATIENCE_S) -> list[Any]:
    """What `futures` end with, in their order. Raises Hangs if one has not ended after `timeout_s`."""
    waited = list(futures)
    if waited:
        _, pending = await asyncio.wait(waited, timeout=timeout_s)
        if pending:
            raise Hangs(f"{len(pending)} of {len(waited)} requests have no answer after {timeout_s:g} s")
    return [future.result() for future in waited]


@asynccontextmanager
async def calling(url: str, ledger: Ledger | None = None) -> AsyncIterator[Caller]:
    """A caller of the broker at `url`."""
    async with websockets.connect(
        url, max_size=None, open_timeout=PATIENCE_S, close_timeout=1, ping_interval=None, compression=None
    ) as connection:
        caller = Caller(connection, Ledger() if ledger is None else ledger)
        try:
            yield caller
        finally:
            await caller.close()


class Pulse:
    """A polite client: one request at a time, at most one each `interval_s`. `durations_s` has how long each took."""

    def __init__(self, caller: Caller, command: str, data: Any = None, interval_s: float = 0.01) -> None:
        self.durations_s: list[float] = []
        self._caller = caller
        self._command = command
        self._data = data
        self._interval_s = interval_s

    async def beat(self, seconds: float, **fields: Any) -> None:
        """Send for `seconds`, with `fields` in each request. Raises AssertionError at the first that fails."""
        give_up_at = time.monotonic() + seconds
        while (began_at := time.monotonic()) < give_up_at:
            response = await self._caller.call(self._command, self._data, **fields)
            self.durations_s.append(time.monotonic() - began_at)
            assert response is not None, "the polite client's connection was lost"
            assert response["success"], response
            await asyncio.sleep(max(0.0, began_at + self._interval_s - time.monotonic()))

    def quantile_s(self, share: float) -> float:
        """The duration that `share` (0.99) of the requests stayed under."""
        ordered = sorted(self.durations_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
