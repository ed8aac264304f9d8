"""A broker that does what a test tells it to, valid or not: the peer for everything that a real broker never does."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from taskferry.protocol.encodings import Encoding
from taskferry.transport.admission import HandshakeRequest, Refusal
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.listen import listen
from taskferry.transport.settings import LinkSettings
from taskferry.transport.sockets import bound_sockets
from taskferry.worker import Worker

Message = dict[str, Any]

PATIENCE_S = 10.0
"""How long a test waits for what must come: longer than the slowest machine needs."""


def welcome(hello: Message, **changes: Any) -> Message:
    """The answer to `connect` that a worker expects."""
    data = {"worker_id": hello["data"]["name"], "heartbeat_interval": 4.0, **changes}
    return {"type": "connect", "msg_id": hello["msg_id"], "timestamp": 0.0, "data": data}


def refuse(code: str, text: str, **more: Any) -> Callable[[Message], Message]:
    return lambda hello: {
        "type": "error",
        "msg_id": hello["msg_id"],
        "timestamp": 0.0,
        "data": {"code": code, "error": text, **more},
    }


class Connection:
    """One worker's link. `hello` is its connect message; `messages` are all later ones that no test has taken yet."""

    link: Link
    hello: Message

    def __init__(self, broker: "FakeBroker") -> None:
        self._broker = broker
        self._is_new = True
        self._request_count = 0
        self._arrived = asyncio.Event()
        self.messages: list[Message] = []
        self.response_counts: Counter[str] = Counter()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    # --- what the transport calls ---

    def link_opened(self, link: Link) -> None:
        self.link = link
        self._library = msgspec.json if link.encoding is Encoding.JSON else msgspec.msgpack

    def messages_received(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            message = self._library.decode(payload)
            if self._is_new:
                self._is_new = False
                self.hello = message
                self._broker.said_hello(self)
                continue
            if message["type"] == "disconnect" and self._broker.answers_disconnect:
                self.send_goodbye()
            if message["type"] == "response":
                self.response_counts[message["msg_id"]] += 1
            self.messages.append(message)
            self._arrived.set()

    def wrong_kind_received(self) -> None:
        raise AssertionError("a worker sends frames of its encoding only")

    def link_closed(self, reason: str) -> None:
        self._broker.open_connections.discard(self)
        self.closed.set_result(reason)

    # --- what a test calls ---

    def send(self, message: object) -> None:
        self.link.send(self._library.encode(message))

    def send_request(
        self,
        action: str,
        params: object = None,
        *,
        timeout: float = 5.0,
        msg_id: str | None = None,
        job: Message | None = None,
        stream: bool = False,
    ) -> str:
        """Assign, without waiting; the msg_id."""
        self._request_count += 1
        msg_id = msg_id or f"m{self._request_count}"
        call = {
            "action": action,
            "params": {} if params is None else params,
            "timeout": timeout,
            "request_id": f"r-{msg_id}",
        }
        if job is not None:
            call["job"] = job
        if stream:
            call["stream"] = True
        self.send({"type": "request", "msg_id": msg_id, "timestamp": 0.0, "data": call})
        return msg_id

    def send_attempt(
        self,
        action: str,
        params: object = None,
        *,
        timeout: float = 60.0,
        msg_id: str,
        attempt: int = 1,
        is_last: bool = False,
        stream: bool = False,
    ) -> str:
        """Assign an attempt of job `j-MSG_ID`, without waiting; the msg_id."""
        job = {"job_id": f"j-{msg_id}", "attempt": attempt, "is_last": is_last}
        return self.send_request(action, params, timeout=timeout, msg_id=msg_id, job=job, stream=stream)

    def send_credit(self, msg_id: str, sequence: int) -> None:
        self.send({"type": "credit", "msg_id": msg_id, "timestamp": 0.0, "data": {"sequence": sequence}})

    async def chunk_of(self, msg_id: str) -> tuple[int, Any]:
        """The sequence and the data of the next chunk of this assignment."""
        message = await self.receive(
            lambda message: message["type"] == "chunk" and message["msg_id"] == msg_id
        )
        return message["sequence"], message["data"]

    def send_settled(self, msg_id: str) -> None:
        self.send({"type": "settled", "msg_id": msg_id, "timestamp": 0.0})

    def send_cancel(self, msg_id: str) -> None:
        self.send(
            {
                "type": "cancel",
                "msg_id": msg_id,
                "timestamp": 0.0,
                "data": {"reason": "cancelled by the test"},
            }
        )

    def send_goodbye(self, reason: str | None = None) -> None:
        self.send({"type": "disconnect", "msg_id": None, "timestamp": 0.0, "data": {"reason": reason}})

    async def receive(self, is_wanted: Callable[[Message], bool]) -> Message:
        """Take the first message that is wanted, when it arrives."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for position, message in enumerate(self.messages):
                    if is_wanted(message):
                        return self.messages.pop(position)
                self._arrived.clear()
                await self._arrived.wait()

    async def receive_type(self, kind: str) -> Message:
        return await self.receive(lambda message: message["type"] == kind)

    async def response_to(self, msg_id: str) -> Message:
        """How the assignment ended: the response's `data`."""
        response = await self.receive(
            lambda message: message["type"] == "response" and message["msg_id"] == msg_id
        )
        data: Message = response["data"]
        return data

    @property
    def claimed(self) -> list[str]:
        """The msg_ids that the worker claimed on connecting."""
        return [claim["msg_id"] for claim in self.hello["data"]["running"]]

    async def request(self, action: str, params: object = None, *, timeout: float = 5.0) -> Message:
        """Assign, and wait for how it ends."""
        return await self.response_to(self.send_request(action, params, timeout=timeout))

    async def result(self, action: str, params: object = None) -> Any:
        """Assign, and wait for the result of a success."""
        response = await self.request(action, params)
        assert response["success"], response
        return response["result"]

    async def failure(self, action: str, params: object = None) -> tuple[str, str]:
        """Assign, and wait for code and text of a failure."""
        response = await self.request(action, params)
        assert not response["success"], response
        return response["code"], response["error"]


class FakeBroker:
    """Listens at `url`. `answer` turns a worker's connect message into the reply to it, None for silence;
    `answers_disconnect`: a worker that leaves gets the confirmation that no assignment follows. `admit` may refuse a
    handshake; `tokens` are those shown, None for none."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: Callable[[Message], object] = welcome
        self.closes_after_answer = False
        self.answers_disconnect = True
        self.admit: Callable[[str | None], Refusal | None] = lambda _: None
        self.tokens: list[str | None] = []
        self.connection_count = 0
        self.open_connections: set[Connection] = set()
        self._new: asyncio.Queue[Connection] = asyncio.Queue()
        self._group = LinkGroup()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        self._server = await listen(
            bound_sockets("127.0.0.1", port)[0], self._make_connection, self._group, LinkSettings()
        )
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def _make_connection(self, request: HandshakeRequest) -> Connection | Refusal:
        header = request.headers.get("authorization")
        self.tokens.append(None if header is None else header.removeprefix("Bearer "))
        return self.admit(self.tokens[-1]) or Connection(self)

    def stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        self.stop_listening()
        for connection in tuple(self.open_connections):
            connection.link.abort("the test is over")
            await connection.closed
        self._group.close()

    def said_hello(self, connection: Connection) -> None:
        self.connection_count += 1
        self.open_connections.add(connection)
        answer = self.answer(connection.hello)
        if answer is not None:
            connection.send(answer)
        if self.closes_after_answer:
            connection.link.close(1008, "refused")
        self._new.put_nowait(connection)

    async def connection(self) -> Connection:
        """The next worker that has said connect."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._new.get()

    @contextlib.asynccontextmanager
    async def serve(self, worker: Worker) -> AsyncIterator[Connection]:
        """`worker` serves here until the block ends."""
        serving = asyncio.create_task(worker.serve(self.url))
        try:
            yield await self.connection()
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
