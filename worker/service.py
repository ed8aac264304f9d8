"""A worker in service: connects, reconnects for as long as it runs, and leaves in an orderly way.

One instance serves once. What messages mean is in session.py.
"""

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ..configuration.url import without_secrets
from ..credentials.settings import unprotected
from ..credentials.source import NO_TOKEN, TokenError, TokenSource
from ..log.event import log_event
from ..program.device import device_facts, sdk
from ..program.own_messages import MessageHandlers
from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from ..protocol.errors import BadMessage, CannotConnect, Forbidden, WorkerIdTaken
from ..protocol.messages import Fault, Hello, Places, Welcome
from ..transport.backoff import Backoff
from ..transport.connect import ConnectError, connect
from ..transport.group import LinkGroup
from . import events, limits
from .command import Command, Execution
from .executors import Executors
from .failure_log import FailureLog
from .loop_watch import LoopWatch
from .name import default_name
from .own_message import own_message
from .runner import Runner
from .session import Session
from .settings import LINK_SETTINGS, WorkerSettings

logger = logging.getLogger(__name__)


class Service:
    """One worker, for as long as it serves the broker at `url`, with one of the `tokens` for each connection. Made
    inside the running loop."""

    __slots__ = (
        "_backoff",
        "_commands",
        "_draining",
        "_encoding",
        "_ends_at",
        "_executors",
        "_grace_s",
        "_handlers",
        "_hello",
        "_last_trouble",
        "_loop",
        "_public_url",
        "_runner",
        "_session",
        "_tls",
        "_tokens",
        "_url",
    )

    def __init__(  # noqa: PLR0917  a service needs all of these
        self,
        url: str,
        commands: Mapping[str, Command],
        settings: WorkerSettings,
        tokens: TokenSource,
        tls: ssl.SSLContext | None,
        handlers: MessageHandlers,
    ) -> None:
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._tokens = tokens
        self._tls = tls
        self._url = url
        self._public_url = without_secrets(url)
        """The URL as it is logged."""
        self._commands = commands
        self._encoding = Encoding(settings.encoding)
        self._grace_s = settings.grace_s
        self._executors = Executors(settings)
        self._runner = Runner(
            commands,
            self._executors,
            CODECS[self._encoding],
            concurrency=settings.concurrency,
            failure_log=FailureLog(keeps_words=settings.log_handler_errors),
        )
        self._hello = Hello(
            commands=list(commands),
            name=settings.name or default_name(),
            instance=secrets.token_hex(8),
            concurrency=settings.concurrency,
            weight=settings.weight,
            labels=dict(settings.labels or {}),
            canary=settings.canary,
            defaults={
                name: command.defaults for name, command in commands.items() if command.defaults is not None
            },
            places=_places_of(commands, self._executors.processes.count_max, settings.concurrency),
            sdk=sdk(),
            device=device_facts(settings.device or {}),
        )
        self._backoff = Backoff(random.random)
        self._draining: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends_at = 0.0
        """Once it drains: when the grace is over, on the clock of the loop."""
        self._last_trouble: str | None = None
        self._session: Session | None = None

    def send(self, kind: str, data: object, to: str | None) -> None:
        """Send a message of the user's own, from any thread. Raises BadRequest and TooLarge."""
        encoded = own_message(kind, data, to, CODECS[self._encoding])
        self._loop.call_soon_threadsafe(self._send, encoded)

    def _send(self, encoded: bytes) -> None:
        if self._session is not None:
            self._session.send_encoded(encoded)

    def drain(self) -> None:
        """Make `run` take nothing new, finish what runs within the grace, and return."""
        if not self._draining.done():
            self._ends_at = asyncio.get_running_loop().time() + self._grace_s
            self._draining.set_result(None)

    async def run(self) -> None:
        """Serve until `drain`, or until cancelled, which stops all handlers at once.

        Raises CannotConnect if `url` is not a WebSocket URL, or not one for the token or for TLS; BadMessage if the
        broker refuses what the worker declares.
        """
        if not self._tokens.is_none:
            for warning in unprotected(self._url):
                log_event(logger, warning)
        group = LinkGroup()
        watch = LoopWatch(self._commands.values(), limits.BLOCKED_S_MAX)
        watch.start()
        try:
            while self._session is None and (not self._draining.done() or self._owing_s):
                wait_s = await self._serve_once(group)
                if self._session is None:
                    await self._pause(wait_s)
        finally:
            watch.stop()
            self._handlers.close()
            try:
                await self._stop()
            finally:
                group.close()
                self._executors.close()

    async def _stop(self) -> None:
        """Stop what still runs, leave the broker, and report what no broker has settled."""
        attempts_count = sum(assignment.job is not None for assignment in self._runner.in_flight.values())
        if self._session is not None:
            self._session.leave()
        await self._runner.stop()
        if self._session is not None:
            await self._session.left()
        results_count = len(self._runner.kept)
        if attempts_count or results_count:
            log_event(logger, events.JobsLeft(attempts_count, results_count))

    @property
    def _owing_s(self) -> float:
        """While it drains: for how much longer it tries to deliver what it owes brokers of jobs; 0 if that is
        nothing. Without a link, only attempts of jobs are in flight."""
        if not self._runner.in_flight and not len(self._runner.kept):
            return 0.0
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())

    async def _serve_once(self, group: LinkGroup) -> float:
        """One link, from its opening to its end. Returns how long to wait before the next one; there is none after a
        link that is still there."""
        session = self._session = Session(
            self._hello,
            self._runner,
            group,
            self._welcomed,
            tokens=self._tokens,
            public_url=self._public_url,
            is_draining=self._draining.done(),
            handlers=self._handlers,
        )
        try:
            if not await self._open(session, group):
                return 0.0
        except TokenError as error:
            self._session = None
            self._report_trouble(f"cannot connect to {self._public_url}: no token: {error}")
            return self._backoff.next_wait_s()
        except ConnectError as error:
            self._session = None
            return self._connect_failed(error, has_token=session.token is not None)
        except Exception as error:  # whatever it is: a worker that runs for months must not end by it
            self._session = None
            self._report_trouble(f"cannot connect to {self._public_url}: {type(error).__name__}: {error}")
            return self._backoff.next_wait_s()
        await self._unless_draining(session.closed)
        if not session.closed.done():
            await session.drain(self._grace_s, self._ends_at)
        if not session.closed.done():
            return 0.0
        self._session = None
        if session.refusal is not None:
            return self._refused(session.refusal)
        self._report_trouble(f"lost the connection to {self._public_url}: {session.closed.result()}")
        return self._backoff.next_wait_s()

    async def _open(self, session: Session, group: LinkGroup) -> bool:
        """Open the session's link. False if the worker is to stop. Raises TokenError and ConnectError."""
        connecting = asyncio.ensure_future(self._connect(session, group))
        try:
            await self._unless_draining(connecting)
            if not connecting.done():
                await asyncio.wait({connecting}, timeout=self._owing_s)
        finally:
            connecting.cancel()
        try:
            await connecting
        except asyncio.CancelledError:
            if not self._draining.done():
                raise
            return False
        return True

    async def _connect(self, session: Session, group: LinkGroup) -> None:
        session.token = await self._tokens.fetch()
        await connect(
            self._url, session, group, LINK_SETTINGS, self._encoding, token=session.token, tls=self._tls
        )

    def _connect_failed(self, error: ConnectError, *, has_token: bool) -> float:
        """Log it, and return how long to wait. Raises CannotConnect if that is useless."""
        if error.is_permanent:
            raise CannotConnect(str(error)) from None
        text = f"cannot connect to {self._public_url}: {error.line}"
        if error.status == HTTPStatus.UNAUTHORIZED and not has_token:
            text = f"{text}; {NO_TOKEN}"
        self._report_trouble(text)
        return self._backoff.next_wait_s(is_refused=error.is_refused, retry_after_s=error.retry_after_s)

    async def _unless_draining(self, awaited: "asyncio.Future[Any]") -> None:
        """Wait until it is done, or the worker is to stop."""
        futures: set[asyncio.Future[Any]] = {awaited, self._draining}
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)

    async def _pause(self, wait_s: float) -> None:
        """Wait before the next link; once it drains, no longer than anything is owed."""
        if not self._draining.done():
            await asyncio.wait({self._draining}, timeout=wait_s)
        else:
            await asyncio.sleep(min(wait_s, self._owing_s))

    def _welcomed(self, welcome: Welcome) -> None:
        self._backoff.reset()
        self._last_trouble = None
        log_event(
            logger,
            events.WorkerConnected(
                self._public_url, welcome.worker_id, events.named(self._commands), self._hello.concurrency
            ),
        )

    def _refused(self, fault: Fault) -> float:
        """Log it, and return how long to wait. Raises BadMessage if that is useless."""
        if fault.code == BadMessage.code:
            raise BadMessage(f"the broker at {self._public_url} refuses this worker: {fault.error}")
        if fault.code == WorkerIdTaken.code:
            self._report_trouble(
                f"another worker is connected to {self._public_url} under the name {self._hello.name}"
            )
        else:
            self._report_trouble(
                f"the broker at {self._public_url} refuses this worker: {fault.code}: {fault.error}"
            )
        return self._backoff.next_wait_s(
            is_refused=fault.code == Forbidden.code, retry_after_s=fault.retry_after or 0.0
        )

    def _report_trouble(self, trouble: str) -> None:
        """Log it once, however often it repeats."""
        if trouble != self._last_trouble:
            self._last_trouble = trouble
            log_event(logger, events.BrokerOutOfReach(self._public_url, trouble))


def _places_of(commands: Mapping[str, Command], count: int, concurrency: int) -> Places | None:
    """The places of commands whose handlers run in processes, unless there are as many as slots."""
    names = [name for name, command in commands.items() if command.execution is Execution.PROCESS]
    return Places(names, count) if names and count < concurrency else None
