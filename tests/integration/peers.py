"""Peers of a broker with only `websockets`, `json` and `msgpack`: what anyone could write from PROTOCOL.md."""

import asyncio
import inspect
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import msgpack
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.processes import PATIENCE_S, Hangs

Handler = Callable[[Any], Any]
"""Takes a command's params, returns its result; may be a coroutine function. What it raises is the error's text."""

_numbers: Final = itertools.count(1)


def unique(name: str) -> str:
    """A name that no other test of this process uses, for workers and commands at a shared broker."""
    return f"{name}-{next(_numbers)}"


async def eventually(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return once `condition` is true; Hangs, naming `what`, if that takes too long. The loop runs meanwhile."""
    give_up_at = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > give_up_at:
            raise Hangs(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.01)


class Peer:
    """One connection to a broker, messages in and out in its encoding: `json` or `msgpack`."""

    def __init__(self, connection: ClientConnection, encoding: str) -> None:
        self.connection = connection
        self.encoding = encoding

    async def send(self, message: Any) -> None:
        await self.connection.send(json.dumps(message) if self.encoding == "json" else msgpack.packb(message))

    async def send_raw(self, payload: str | bytes) -> None:
        """A text message for str, a binary one for bytes, whatever it says."""
        await self.connection.send(payload)

    async def receive(self) -> Any:
        """The next message."""
        payload = await self.receive_raw()
        if self.encoding == "json":
            assert isinstance(payload, str), "JSON goes in text frames"
            return json.loads(payload)
        assert isinstance(payload, bytes), "MessagePack goes in binary frames"
        return msgpack.unpackb(payload)

    async def receive_or_close(self) -> Any:
        """The next message, however long it takes; None if the connection ends instead."""
        try:
            payload = await self.connection.recv()
        except ConnectionClosed:
            return None
        return json.loads(payload) if self.encoding == "json" else msgpack.unpackb(payload)

    async def receive_raw(self) -> str | bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.connection.recv()

    async def call(self, command: str, data: Any = None, **fields: Any) -> Any:
        """Send one request and wait for the next message, which must be its response."""
        request_id = fields.pop("request_id", None) or unique("request")
        message = {"request_id": request_id, "command": command, **fields}
        await self.send(message if data is None else {**message, "data": data})
        response = await self.receive()
        assert response["request_id"] == request_id
        return response

    async def join(self, name: str, *commands: str, **hello: Any) -> Any:
        """Connect as a worker; returns the broker's answer."""
        await self.send(
            {
                "type": "connect",
                "msg_id": "hello",
                "data": {"name": name, "commands": list(commands), **hello},
            }
        )
        return await self.receive()

    async def receive_assignment(self) -> Any:
        """The next message, which must be an assignment."""
        message = await self.receive()
        assert message["type"] == "request", message
        return message

    async def respond(self, assignment: Any, result: Any) -> None:
        """Answer an assignment with success."""
        await self.respond_with(assignment, {"success": True, "result": result})

    async def respond_with(self, assignment: Any, data: Any) -> None:
        """Answer an assignment with `data`, whatever that is."""
        await self.send({"type": "response", "msg_id": assignment["msg_id"], "data": data})

    async def wait_closed(self) -> tuple[int | None, str]:
        """Code and reason with which the broker closes; messages that still arrive before that are dropped."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    await self.connection.recv()
            except ConnectionClosed:
                return self.connection.close_code, self.connection.close_reason or ""


@asynccontextmanager
async def connected(url: str, encoding: str | None = None, **options: Any) -> AsyncIterator[Peer]:
    """A peer at `url`; without an encoding it offers no sub-protocol, which means JSON."""
    subprotocols = [Subprotocol(f"taskferry.v1.{encoding}")] if encoding else None
    async with websockets.connect(
        url, subprotocols=subprotocols, open_timeout=PATIENCE_S, close_timeout=1, max_size=None, **options
    ) as connection:
        assert connection.subprotocol == (f"taskferry.v1.{encoding}" if encoding else None)
        yield Peer(connection, encoding or "json")


@asynccontextmanager
async def serving(
    url: str,
    handlers: Mapping[str, Handler],
    *,
    name: str | None = None,
    encoding: str | None = None,
    concurrency: int = 100,
    **hello: Any,
) -> AsyncIterator[str]:
    """A worker that runs `handlers` by command; its worker_id."""
    async with connected(url, encoding) as peer:
        welcome = await peer.join(name or unique("worker"), *handlers, concurrency=concurrency, **hello)
        assert welcome["type"] == "connect", welcome
        task = asyncio.create_task(_serve(peer, handlers))
        try:
            yield welcome["data"]["worker_id"]
        finally:
            task.cancel()
            await asyncio.wait({task})


async def _serve(peer: Peer, handlers: Mapping[str, Handler]) -> None:
    running: dict[str, asyncio.Task[None]] = {}
    try:
        while (message := await peer.receive_or_close()) is not None:
            match message["type"]:
                case "request":
                    msg_id = message["msg_id"]
                    run = asyncio.create_task(_run(peer, handlers[message["data"]["action"]], message))
                    running[msg_id] = run
                    run.add_done_callback(partial(_forget, running, msg_id))
                case "cancel" if message["msg_id"] in running:
                    running[message["msg_id"]].cancel()
    finally:
        tasks = tuple(running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def _forget(running: dict[str, asyncio.Task[None]], msg_id: str, _: asyncio.Task[None]) -> None:
    del running[msg_id]


async def _run(peer: Peer, handler: Handler, assignment: Any) -> None:
    try:
        result = handler(assignment["data"]["params"])
        answer = {"success": True, "result": await result if inspect.isawaitable(result) else result}
    except asyncio.CancelledError:
        answer = {"success": False, "error": "cancelled", "code": "cancelled"}
    except Exception as error:
        answer = {"success": False, "error": str(error)}
    with suppress(ConnectionClosed):
        await peer.respond_with(assignment, answer)
