"""A requester port on a real socket whose behaviour each request's command names: for the odd things that a real broker
never does on request. It has none of the broker's rules.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from msgspec import Raw
from taskferry.protocol.codec import CODECS, Codec
from taskferry.protocol.messages import Auth, Cancel, Failure, Request, Response
from taskferry.transport.admission import HandshakeRequest, Refusal
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.listen import listen
from taskferry.transport.settings import LinkSettings
from taskferry.transport.sockets import bound_sockets

from tests.unit.requester.waiting import PATIENCE_S, until


class FakeBroker:
    """What a request's command makes it do:

    `echo` answers with the data; `fail` with the failure whose fields are the data; `never` does not
    answer; `twice` answers twice; `hold` answers on `release`; `hang_up` drops the connection; `say_goodbye` closes it;
    `verbatim` sends the text that is the data, with the request's id for ID.

    What is neither a request, nor a cancellation, nor `auth` is a question: it is answered with what `answer_question`
    returns for it, None for no answer.

    `admit` may refuse a handshake; `tokens` are those shown, in handshakes and in `auth`, None for none.
    """

    def __init__(self) -> None:
        self.admit: Callable[[str | None], Refusal | None] = lambda _: None
        self.tokens: list[str | None] = []
        self.verbatim = ""
        """If set, what `verbatim` sends in place of the data."""
        self.requests: list[Request] = []
        self.cancelled: list[str] = []
        self.questions: list[Any] = []
        self.answer_question: Callable[[Any], object] = lambda _: None
        self.behave: Callable[[Session, Request], None] = Session.behave
        """What it does with a request."""
        self.connection_count = 0
        self.sessions: list[Session] = []
        self.port = 0
        self._held: list[Callable[[], None]] = []
        self._group: LinkGroup | None = None
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def commands(self) -> list[object]:
        return [request.command for request in self.requests]

    async def start(self) -> None:
        """Listen: on a free port the first time, and on the same one after `stop`."""
        self._group = LinkGroup()
        self._server = await listen(
            bound_sockets("127.0.0.1", self.port)[0], self._make_session, self._group, LinkSettings()
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone at once, like a process that was killed."""
        if self._server is None or self._group is None:
            return
        group = self._group
        # CPython never closes a connection accepted in the moment in which its server closes (the assertion in
        # Server._attach fails): accept no more, and let what has just been accepted become a link.
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(4):
            await asyncio.sleep(0)
        self._server.close()
        for link in tuple(group.links):
            assert isinstance(link, Link)
            link.abort("dropped")  # also one whose handshake has not ended, which is no session yet
        await until(lambda: not group.links)
        await self._server.wait_closed()
        group.close()
        self._server = self._group = None

    def _make_session(self, request: HandshakeRequest) -> "Session | Refusal":
        header = request.headers.get("authorization")
        self.tokens.append(None if header is None else header.removeprefix("Bearer "))
        return self.admit(self.tokens[-1]) or Session(self)

    def drop_connections(self) -> None:
        """Without a closing handshake."""
        for session in tuple(self.sessions):
            session.link.abort("dropped")

    def hold(self, answer: Callable[[], None]) -> None:
        self._held.append(answer)

    def release(self) -> None:
        """Answer everything that is held."""
        held, self._held = self._held, []
        for answer in held:
            answer()


class Session:
    """One connection of a requester."""

    link: Link
    codec: Codec

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker

    def link_opened(self, link: Link) -> None:
        self.link = link
        self.codec = CODECS[link.encoding]
        self.broker.sessions.append(self)
        self.broker.connection_count += 1

    def link_closed(self, reason: str) -> None:
        if self in self.broker.sessions:
            self.broker.sessions.remove(self)

    def wrong_kind_received(self) -> None:
        raise AssertionError("a requester sends its own encoding")

    def messages_received(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if self.codec.ids_in(payload).type is not None:
                self.receive_control(self.codec.requester_control(payload))
            else:
                message = self.codec.request(payload)
                self.broker.requests.append(message)
                self.broker.behave(self, message)

    def receive_control(self, control: Any) -> None:
        match control:
            case Cancel(job_id=None, filter=None):
                self.broker.cancelled.append(control.request_id)
            case Auth():
                self.broker.tokens.append(control.token)
            case _:
                self.broker.questions.append(control)
                answer = self.broker.answer_question(control)
                if answer is not None:
                    self.send(answer)

    def behave(self, request: Request) -> None:
        match request.command:
            case "echo":
                self.answer(request)
            case "fail":
                failure: dict[str, Any] = self.decode(request.data)
                self.send(Failure(request.request_id, False, None, processed_by="worker-1", **failure))
            case "never":
                pass
            case "twice":
                self.answer(request)
                self.answer(request)
            case "hold":
                self.broker.hold(lambda: self.answer(request))
            case "hang_up":
                self.link.abort("hung up")
            case "say_goodbye":
                self.link.close(1012, "restart")
            case "verbatim":
                text: str = self.broker.verbatim or self.decode(request.data)
                self.link.send(text.replace("ID", request.request_id or "").encode())
            case _:
                raise AssertionError(request.command)

    def answer(self, request: Request) -> None:
        data = request.data if isinstance(request.data, Raw) else self.codec.empty_data
        self.send(Response(request.request_id or "", True, data, None, "worker-1"))

    def send(self, message: object) -> None:
        self.link.send(self.codec.encode(message))

    def decode(self, data: object) -> Any:
        assert isinstance(data, Raw)
        library = msgspec.json if self.codec is CODECS[next(iter(CODECS))] else msgspec.msgpack
        return library.decode(data)


@asynccontextmanager
async def fake_broker() -> AsyncIterator[FakeBroker]:
    """One that runs until the block ends."""
    broker = FakeBroker()
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


class FakeBrokerThread:
    """A fake broker in an event loop in its own thread, for tests that block. A context manager."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return self.broker.url

    @property
    def request_count(self) -> int:
        return len(self.broker.requests)

    def start(self) -> None:
        self._run(self.broker.start())

    def stop(self) -> None:
        self._run(self.broker.stop())

    def drop_connections(self) -> None:
        """Without a closing handshake."""
        self._loop.call_soon_threadsafe(self.broker.drop_connections)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self.broker.release)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)
