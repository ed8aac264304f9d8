"""The shell of a broker in the test's event loop: real core, ports, sessions and sockets, and peers that speak JSON or
MessagePack when the test says so."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from taskferry.broker.broker import entrance_settings
from taskferry.broker.core.core import Core
from taskferry.broker.core.measures.histogram import Histogram
from taskferry.broker.core.settings import CoreSettings
from taskferry.broker.core_timer import CoreTimer
from taskferry.broker.entrance import Entrance
from taskferry.broker.entrant import Entrant
from taskferry.broker.event_log import EventLog
from taskferry.broker.gather_desk import GatherDesk
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.policy import OPEN, Policy
from taskferry.broker.plugins import Plugins
from taskferry.broker.port import Port
from taskferry.broker.post import Post
from taskferry.broker.read_model import ReadModel
from taskferry.broker.requester_session import RequesterSession
from taskferry.broker.session_context import SessionContext
from taskferry.broker.settings import BrokerSettings
from taskferry.broker.topic_desk import TopicDesk
from taskferry.broker.topic_sources import TaskSteps, TopicObserver
from taskferry.broker.topics.bounds import TopicSettings
from taskferry.broker.topics.sources import Source
from taskferry.broker.worker_session import WorkerSession
from taskferry.credentials.token import Token
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from taskferry.protocol.encodings import Encoding
from taskferry.transport.admission import HandshakeRequest, Refusal
from taskferry.transport.connect import connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings

from tests.unit.broker.access_files import token_of
from tests.unit.transport.ends import Recorder
from tests.unit.transport.waiting import until

MESSAGE_SIZE_BYTES_MAX: Final = 64 * 1024

LIBRARIES: Final[dict[Encoding, Any]] = {Encoding.JSON: msgspec.json, Encoding.MSGPACK: msgspec.msgpack}


class Peer:
    """A worker or a requester on its own link."""

    def __init__(self, recorder: Recorder, link: Link) -> None:
        self.recorder = recorder
        self.link = link
        self._read_count = 0

    def send(self, message: object) -> None:
        self.link.send(LIBRARIES[self.link.encoding].encode(message))

    async def receive(self) -> Any:
        """The next message that it has not received yet."""
        await until(lambda: len(self.recorder.messages) > self._read_count)
        self._read_count += 1
        return LIBRARIES[self.link.encoding].decode(self.recorder.messages[self._read_count - 1])

    async def closed(self) -> str:
        return await self.recorder.closed()


class Shell:
    """A core and both of its ports, which listen."""

    def __init__(self, policy: Policy = OPEN, **settings: Any) -> None:
        choice = StrategyChoice(STRATEGY_DEFAULT, {}, STRATEGIES, random.Random(1).random)
        self.topics = TopicDesk(TopicSettings(), self._attach)
        self.attached: list[tuple[Source, bool]] = []
        observer = TopicObserver(self.topics, EventLog())
        self.core = Core(CoreSettings(), choice, observer)
        self.timer = CoreTimer(self.core)
        context = SessionContext(
            self.core,
            self.timer,
            "taskferry/test",
            MESSAGE_SIZE_BYTES_MAX,
            topics=self.topics,
            observer=observer,
        )
        self.group = LinkGroup(self.core.turn_ended)
        self.authenticator = Authenticator(policy)
        self.entrance = Entrance(self.authenticator, entrance_settings(BrokerSettings(**settings)))
        context.gathers = GatherDesk(self.core, self.timer, context.data_size_bytes_max)
        context.post = Post(self.core, self.entrance.connections, Plugins())

        def worker(port: Port[WorkerSession], request: HandshakeRequest) -> WorkerSession | Refusal:
            entrant = self.entrance.admit("worker", request)
            return WorkerSession(context, port.sessions, entrant) if isinstance(entrant, Entrant) else entrant

        def requester(port: Port[RequesterSession], request: HandshakeRequest) -> RequesterSession | Refusal:
            entrant = self.entrance.admit("requester", request)
            return (
                RequesterSession(context, port.sessions, entrant) if isinstance(entrant, Entrant) else entrant
            )

        self.workers = Port("worker", worker, LinkSettings(), 10)
        self.requesters = Port("requester", requester, LinkSettings(), 10)
        self.read_model = ReadModel(
            self.core,
            self.workers,
            self.requesters,
            self.entrance,
            Histogram(),
            hub=self.topics.hub,
            version="test",
            strategy=STRATEGY_DEFAULT,
        )
        self._peers = LinkGroup()

    def _attach(self, source: Source, is_wanted: bool) -> None:
        self.attached.append((source, is_wanted))
        if source is Source.STEPS:
            self.core.listen(TaskSteps(self.topics) if is_wanted else None)

    async def open(self) -> None:
        self.topics.start()
        for port in (self.workers, self.requesters):
            await port.open("127.0.0.1", 0, self.group)

    async def close(self) -> None:
        self.topics.stop()
        self.workers.close()
        self.requesters.close()
        for link in tuple(self._peers.links):
            assert isinstance(link, Link)
            link.abort("the test is over")
        await until(lambda: not self._peers.links and not self.group.links)
        self.timer.stop()
        self._peers.close()
        self.group.close()

    async def worker_connection(
        self, encoding: Encoding = Encoding.JSON, identity: str | None = None
    ) -> Peer:
        """A connection on the worker port that has said nothing."""
        return await self._connect(self.workers.number, encoding, identity)

    async def worker(
        self, encoding: Encoding = Encoding.JSON, identity: str | None = None, **hello: object
    ) -> Peer:
        """A worker that serves `work`, and was welcomed."""
        peer = await self.worker_connection(encoding, identity)
        peer.send({"type": "connect", "msg_id": "hello", "data": {"commands": ["work"], **hello}})
        assert (await peer.receive())["type"] == "connect"
        return peer

    async def requester(self, encoding: Encoding = Encoding.JSON, identity: str | None = None) -> Peer:
        return await self._connect(self.requesters.number, encoding, identity)

    async def _connect(self, number: int, encoding: Encoding, identity: str | None) -> Peer:
        recorder = Recorder()
        url = f"ws://127.0.0.1:{number}"
        token = None if identity is None else Token(token_of(identity))
        link = await connect(url, recorder, self._peers, LinkSettings(), encoding, token=token)
        return Peer(recorder, link)

    def take(self, policy: Policy) -> None:
        """A reload: the file says something else now."""
        self.entrance.take(policy)
        self.check()

    def check(self, now: float | None = None) -> None:
        """What a broker does twice a second."""
        while self.entrance.check(time.monotonic() if now is None else now):
            pass


@asynccontextmanager
async def open_shell(policy: Policy = OPEN, **settings: Any) -> AsyncIterator[Shell]:
    """`settings`: those of the broker that govern its entrance."""
    shell = Shell(policy, **settings)
    await shell.open()
    try:
        yield shell
    finally:
        await shell.close()
