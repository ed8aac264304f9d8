"""The broker as one object in an event loop: ports, sessions, the core, one timer, and an orderly end.

Owns the real clock and the real sockets. Knows when to call the core and never why it decides as it does.
"""

import asyncio
import logging
import random
import time
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

from ..log.event import tell
from ..protocol.encodings import Encoding
from ..protocol.frequent import FrequentMessages
from ..protocol.limits import ENVELOPE_SIZE_BYTES_MAX
from ..tracing.switch import SWITCH
from ..transport.admission import HandshakeRequest, MakeReceiver, Refusal, RefusalReason
from ..transport.counts import LinkCounts
from ..transport.group import LinkGroup
from ..transport.listen import listen
from ..transport.receiver import Receiver
from ..transport.settings import LinkSettings
from .core.core import Core
from .core.delivery.deadlines import NEVER
from .core.followed import FollowedCore
from .event_log import EventLog
from .events import HandshakeRefused
from .loop_lag import LoopLag
from .requester_session import RequesterSession
from .settings import BrokerSettings
from .worker_session import WorkerSession

logger = logging.getLogger(__name__)

REQUESTER_HEARTBEAT_INTERVAL_S: Final = 15.0
REQUESTER_SILENCE_S_MAX: Final = 45.0
"""The requester port is more patient than the worker port: a half-open requester costs a little memory, while a client
that is slow to read (its library then answers no ping) may still come back for its responses."""

LISTEN_INTERVAL_S: Final = 0.5
"""How often workers' links are asked whether they are silent: as often as links find that out."""

DRAIN_LOOK_INTERVAL_S: Final = 0.02
GOODBYE_S_MAX: Final = 2.5
"""How long closing handshakes are waited for at the end; a little over a link's own bound."""


class PortTaken(Exception):
    """A port that the broker was to listen on cannot be had: one line that says which and why."""


class Broker:
    """A running broker. `start`, then `stop`; both once, in one event loop.

    `worker_port` and `requester_port` are the real ports once started, also where the settings said 0.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.version = version("taskferry")
        self.data_size_bytes_max = settings.message_size_bytes_max - ENVELOPE_SIZE_BYTES_MAX
        self.core = self._make_core()
        self.frequent_messages: dict[Encoding, FrequentMessages] = {
            encoding: FrequentMessages(encoding) for encoding in Encoding
        }
        self.worker_sessions: dict[WorkerSession, None] = {}
        self.requester_sessions: dict[RequesterSession, None] = {}
        self.link_counts = {"worker": LinkCounts(), "requester": LinkCounts()}
        """What has passed through each port."""
        self.loop_lag = LoopLag()
        self.started_at = time.monotonic()
        self.worker_port = 0
        self.requester_port = 0
        self.wakes_at = NEVER
        """When the one timer goes off, on the monotonic clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._listen_at = 0.0
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Listen on both WebSocket ports. Raises PortTaken; nothing is left open then."""
        self._loop = asyncio.get_running_loop()
        self._group = LinkGroup(self.core.turn_ended)
        size_bytes_max = self.settings.message_size_bytes_max
        worker_links = LinkSettings(message_size_bytes_max=size_bytes_max)
        requester_links = LinkSettings(
            message_size_bytes_max=size_bytes_max,
            heartbeat_interval_s=REQUESTER_HEARTBEAT_INTERVAL_S,
            silence_s_max=REQUESTER_SILENCE_S_MAX,
            reads_only_while_writable=True,
        )
        try:
            self.worker_port = await self._open_port(
                "worker", self.settings.worker_port, self._make_worker_session, worker_links
            )
            self.requester_port = await self._open_port(
                "requester", self.settings.requester_port, self._make_requester_session, requester_links
            )
        except PortTaken:
            self._close_ports()
            self._group.close()
            raise
        self.loop_lag.start()

    def reconfigure(self, settings: BrokerSettings) -> None:
        """Go on with other settings, of which the live ones count (see settings.py). Raises StrategyError, and nothing
        has changed then."""
        choice = settings.strategy_choice(random.random)
        self.settings = settings
        self.core.reconfigure(settings.core_settings(), choice, time.monotonic())

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, give what is in flight `grace_s` seconds to end, answer the rest, say goodbye, close."""
        self.core.drain()
        self._close_ports()
        give_up_at = time.monotonic() + grace_s
        while self.core.in_flight_count and time.monotonic() < give_up_at:  # noqa: ASYNC110  the core signals nobody
            await asyncio.sleep(DRAIN_LOOK_INTERVAL_S)
        self.core.stop(time.monotonic())
        for requester_session in tuple(self.requester_sessions):
            requester_session.close(1012, "broker is going away")
        for worker_session in tuple(self.worker_sessions):
            worker_session.say_goodbye("broker is going away")
        give_up_at = time.monotonic() + GOODBYE_S_MAX
        while self._group.links and time.monotonic() < give_up_at:  # noqa: ASYNC110  nor do links
            await asyncio.sleep(DRAIN_LOOK_INTERVAL_S)
        if self._timer is not None:
            self._timer.cancel()
        self.loop_lag.stop()
        self._group.close()

    def _make_core(self) -> Core:
        settings, choice = self.settings.core_settings(), self.settings.strategy_choice(random.random)
        if SWITCH.tracer is None:
            return Core(settings, choice, EventLog())
        from .request_spans import RequestSpans  # noqa: PLC0415  needs what only tracing installs

        return FollowedCore(settings, choice, EventLog(), RequestSpans(SWITCH.tracer))

    def wake_at(self, at: float) -> None:
        """Have the core's deadlines looked at when the monotonic clock says `at`."""
        if self._timer is not None:
            self._timer.cancel()
        self.wakes_at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.wakes_at = NEVER
        now = time.monotonic()
        self.core.advance(now)
        if now >= self._listen_at:
            self._listen_at = now + LISTEN_INTERVAL_S
            for session in self.worker_sessions:
                session.listen(now)
        if self.core.next_at < NEVER:
            self.wake_at(self.core.next_at)

    async def _open_port(
        self, name: str, port: int, make_receiver: MakeReceiver, settings: LinkSettings
    ) -> int:
        counts = self.link_counts[name]
        host = self.settings.host
        try:
            never_opened = partial(_handshake_ended, name)
            server = await listen(
                host, port, make_receiver, self._group, settings, never_opened=never_opened, counts=counts
            )
        except OSError as error:
            raise PortTaken(f"{name} port {host}:{port}: {describe_os_error(error)}") from None
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _make_worker_session(self, _: HandshakeRequest) -> Receiver | Refusal:
        return self._refusal("worker") or WorkerSession(self)

    def _make_requester_session(self, _: HandshakeRequest) -> Receiver | Refusal:
        return self._refusal("requester") or RequesterSession(self)

    def _refusal(self, port: str) -> Refusal | None:
        """For a connection, which counts already, if that is one too many."""
        count_max = self.settings.connections_count_max
        if self.link_counts[port].connections_count <= count_max:
            return None
        text = f"over {count_max} connections on the {port} port (connections_count_max)"
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, RefusalReason.TOO_MANY_CONNECTIONS)

    def _close_ports(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()


def _handshake_ended(port: str, peer: str, reason: str) -> None:
    """Whoever goes by itself was only looking whether somebody listens, as load balancers do."""
    if not reason.startswith("connection lost"):
        tell(logger, HandshakeRefused(port, peer, reason.removeprefix("handshake refused: ")))


def describe_os_error(error: OSError) -> str:
    """Short, and for people."""
    text = (error.strerror or str(error)).lower()
    return "already in use by another program" if "in use" in text else text
