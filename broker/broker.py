"""The broker in an event loop: made of its core, its ports and a timer, started, reconfigured and ended in order.

Composition only: what each part does, and why, is its own.
"""

import asyncio
import logging
import os
import random
import socket
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from ..log.event import log_event
from ..protocol.encodings import Encoding
from ..protocol.limits import ENVELOPE_SIZE_BYTES_MAX, EVENT_SIZE_BYTES_MAX
from ..tracing.switch import SWITCH
from ..transport.admission import HandshakeRequest, Refusal
from ..transport.group import LinkGroup
from ..transport.settings import LinkSettings
from ..transport.tls_start import TlsContext
from .access.hosts import Hosts, is_loopback
from .access.limits import Limits
from .access.proxies import networks
from .api_path import wish_of
from .api_session import ApiSession
from .core.core import Core
from .core.ports import Steps
from .core_timer import CoreTimer
from .entrance import API_PORT, REQUESTER_PORT, WORKER_PORT, Entrance, EntranceSettings
from .entrant import Entrant
from .event_log import EventLog, JobLog
from .events import AccessFileWarning, AccessReloaded, AccessTurnedOff, JobsOff, OpenToNetwork
from .gather_desk import GatherDesk
from .identity.authenticator import Authenticator
from .identity.policy import OPEN, Policy
from .job_desk import JobDesk
from .job_reading import JobReading
from .jobs.ports import JournalError
from .journal_watch import JournalWatch
from .loop_lag import LoopLag
from .memory import Memory, keep_freed
from .open_files import OpenFiles
from .operations import Operations
from .plugins import Plugins
from .port import Port, PortTaken
from .post import Post
from .read_model import ReadModel
from .requester_session import RequesterSession
from .session_context import SessionContext
from .settings import NO_JOURNAL, BrokerSettings
from .storage.location import default_path
from .storage.sqlite_journal import SqliteJournal
from .topic_desk import TopicDesk
from .topic_sources import BothSteps, JobStates, TaskSteps, TopicObserver
from .topics.sources import Source
from .worker_session import WorkerSession

logger = logging.getLogger(__name__)

REQUESTER_HEARTBEAT_INTERVAL_S: Final = 15.0
REQUESTER_SILENCE_S_MAX: Final = 45.0
"""The requester port is more patient than the worker port: a half-open requester costs a little memory, while a client
that reads slowly (its library then answers no ping) may still come back for its responses."""

API_SIZE_BYTES_MAX: Final = EVENT_SIZE_BYTES_MAX + ENVELOPE_SIZE_BYTES_MAX
"""The largest message of the API port: one that publishes an event."""

DRAIN_LOOK_INTERVAL_S: Final = 0.02
GOODBYE_S_MAX: Final = 2.5
"""How long the end waits for closing handshakes; a little over a link's own bound."""


class Broker:
    """A running broker. `start`, then `stop`; both once, in one event loop.

    `policy`: what the access file says. `tls`: for all ports, None if they are plain.

    Attributes: `worker_port`, `requester_port` and `api_port`, the port numbers that it listens on, also if the
    settings said 0;
    `settings`, those in force; `entrance`, which everything that comes from outside passes; `read_model` and
    `operations`, through which it is shown and operated; `job_desk`, None if it keeps no jobs.
    """

    def __init__(
        self, settings: BrokerSettings, policy: Policy = OPEN, tls: TlsContext | None = None
    ) -> None:
        self.settings = settings
        self.version = version("taskferry")
        self._compose_core(settings)
        self.worker_port = 0
        self.requester_port = 0
        self.api_port = 0
        self._loop_lag = LoopLag()
        self.job_desk: JobDesk | None = None
        size_bytes_max = settings.message_size_bytes_max
        context = self._context
        self._authenticator = Authenticator(policy, self._keys_withdrawn)
        self.entrance = Entrance(self._authenticator, entrance_settings(settings))
        context.gathers = GatherDesk(self.core, self._timer, context.data_size_bytes_max)
        context.post = Post(self.core, self.entrance.connections, Plugins())
        self.operations = Operations(self.core, self.entrance)

        def worker(port: Port[WorkerSession], request: HandshakeRequest) -> WorkerSession | Refusal:
            entrant = self.entrance.admit(WORKER_PORT, request)
            return WorkerSession(context, port.sessions, entrant) if isinstance(entrant, Entrant) else entrant

        def requester(port: Port[RequesterSession], request: HandshakeRequest) -> RequesterSession | Refusal:
            entrant = self.entrance.admit(REQUESTER_PORT, request)
            return (
                RequesterSession(context, port.sessions, entrant) if isinstance(entrant, Entrant) else entrant
            )

        def api(port: Port[ApiSession], request: HandshakeRequest) -> ApiSession | Refusal:
            wish = wish_of(request.path)
            if isinstance(wish, Refusal):
                return self.entrance.refused(API_PORT, request, wish)
            entrant = self.entrance.admit(API_PORT, request)
            if isinstance(entrant, Refusal):
                return entrant
            return ApiSession(self.topics, port.sessions, entrant, wish, self.settings.api_messages_per_s)

        self._workers = Port(
            WORKER_PORT,
            worker,
            LinkSettings(message_size_bytes_max=size_bytes_max),
            settings.connections_count_max,
            tls,
        )
        of_requesters = LinkSettings(
            message_size_bytes_max=size_bytes_max,
            heartbeat_interval_s=REQUESTER_HEARTBEAT_INTERVAL_S,
            silence_s_max=REQUESTER_SILENCE_S_MAX,
            reads_only_while_writable=True,
        )
        self._requesters = Port(REQUESTER_PORT, requester, of_requesters, settings.connections_count_max, tls)
        of_pages = replace(of_requesters, message_size_bytes_max=min(size_bytes_max, API_SIZE_BYTES_MAX))
        self._api = Port(
            API_PORT, api, of_pages, settings.connections_count_max, tls, spoken=(Encoding.JSON,)
        )
        self.read_model = ReadModel(
            self.core,
            self._workers,
            self._requesters,
            self.entrance,
            self._loop_lag.histogram,
            hub=self.topics.hub,
            version=self.version,
            strategy=settings.strategy,
            ready_commands=settings.ready_commands,
            others=(self._api,),
        )

    def _compose_core(self, settings: BrokerSettings) -> None:
        """The core, the topics that listen to it while they have subscribers, and what sessions need of both."""
        self.topics = TopicDesk(settings.topic_settings(), self._attach)
        self._observer = TopicObserver(self.topics, EventLog())
        self._spans = _spans()
        choice = settings.strategy_choice(random.random)
        self.core = Core(settings.core_settings(), choice, self._observer, self._spans)
        self._timer = CoreTimer(self.core)
        self._context = SessionContext(
            self.core,
            self._timer,
            f"taskferry/{self.version}",
            settings.message_size_bytes_max,
            topics=self.topics,
            observer=self._observer,
        )

    async def start(self) -> None:
        """Open the journal, and listen on all WebSocket ports. Raises PortTaken, and JournalError for a journal that
        the settings name; nothing is left open then."""
        self._loop = asyncio.get_running_loop()
        self.topics.start()
        _warn(self.settings, self._authenticator.policy)
        self.job_desk = self._context.desk = await self._opened_desk()
        if self.job_desk is not None:
            self.read_model.jobs = JobReading(self.job_desk, self.core)
        self._authenticator.start()
        self._group = LinkGroup(self.core.turn_ended, self._check, self.settings.unsent_size_bytes_max)
        self.read_model.links = self._group
        keep_freed()
        self._open_files = OpenFiles()
        self._memory = Memory(self._held_size_bytes)
        try:
            await self._workers.open(self.settings.host, self.settings.worker_port, self._group)
            await self._requesters.open(self.settings.host, self.settings.requester_port, self._group)
            await self._api.open(self.settings.host, self.settings.api_port, self._group)
        except PortTaken:
            self._close_ports()
            self._group.close()
            self._authenticator.stop()
            if self.job_desk is not None:
                await self.job_desk.close()
            raise
        self.worker_port, self.requester_port = self._workers.number, self._requesters.number
        self.api_port = self._api.number
        self.core.started(time.monotonic())
        if self.core.next_at < self._timer.wakes_at:
            self._timer.wake_at(self.core.next_at)
        self._loop_lag.start()

    def reconfigure(self, settings: BrokerSettings) -> None:
        """Apply the live ones of other settings (see settings.py). Raises StrategyError; nothing has changed then."""
        choice = settings.strategy_choice(random.random)
        self.settings = settings
        self.read_model.strategy = settings.strategy
        for port in (self._workers, self._requesters, self._api):
            port.connections_count_max = settings.connections_count_max
        for session in self._api.sessions:
            session.reconfigure(settings.api_messages_per_s)
        self._group.unsent_size_bytes_max = settings.unsent_size_bytes_max
        self.entrance.reconfigure(entrance_settings(settings))
        self.core.reconfigure(settings.core_settings(), choice)
        self.topics.hub.settings = settings.topic_settings()
        if self.job_desk is not None:
            self.job_desk.jobs.reconfigure(settings.job_settings())
        self._observer.broker_changed("reloaded")

    def take_access(self, policy: Policy) -> None:
        """Another access file is in force. Links whose login or right it takes away are closed within a second."""
        self.entrance.take(policy)
        log_event(logger, AccessTurnedOff() if policy.is_open else AccessReloaded(len(policy.identities)))
        _warn(self.settings, policy)
        self._observer.broker_changed("access_reloaded")
        self._check_logins()

    def drain(self) -> None:
        """Begin nothing new: what is in flight after that is with workers, or a request that waits. May be called
        again."""
        if not self.core.is_draining:
            self._observer.broker_changed("draining")
        if self.job_desk is not None:
            self.job_desk.drain()
        self.core.drain()

    async def stop(self, grace_s: float) -> None:
        """Accept nothing new but jobs, give what is in flight `grace_s` seconds to end, fail the rest, write the
        journal, say goodbye, close."""
        self.drain()
        self._close_ports()
        give_up_at = time.monotonic() + grace_s
        while self.core.counts.in_flight_count and time.monotonic() < give_up_at:  # noqa: ASYNC110  the core signals nobody
            await asyncio.sleep(DRAIN_LOOK_INTERVAL_S)
        self.core.stop(time.monotonic())
        self._context.gathers.gathers.stop()
        if self.job_desk is not None:
            await self.job_desk.close()
        for requester in tuple(self._requesters.sessions):
            requester.close(1012, "broker is going away")
        for page in tuple(self._api.sessions):
            page.close(1012, "broker is going away")
        for worker in tuple(self._workers.sessions):
            worker.say_goodbye("broker is going away")
        give_up_at = time.monotonic() + GOODBYE_S_MAX
        while self._group.links and time.monotonic() < give_up_at:  # noqa: ASYNC110  nor do links
            await asyncio.sleep(DRAIN_LOOK_INTERVAL_S)
        self._timer.stop()
        self.topics.stop()
        self._loop_lag.stop()
        self._authenticator.stop()
        self._group.close()

    def _check(self, now: float) -> None:
        for session in tuple(self._workers.sessions):
            session.check(now)
        self._check_logins()
        self._memory.check()
        self._open_files.check()
        if self.job_desk is not None:
            self.job_desk.check()

    async def _opened_desk(self) -> JobDesk | None:
        """The desk of jobs; None if this broker keeps none. Raises JournalError if the journal is one that the settings
        name."""
        named = self.settings.journal
        if named == NO_JOURNAL:
            return None
        try:
            path = _default_journal() if named is None else Path(named)
            watch = JournalWatch()
            journal = SqliteJournal(path, watch)
            desk = JobDesk(
                self.core,
                self._timer,
                journal,
                watch,
                observer=JobLog(),
                settings=self.settings.job_settings(),
            )
            await desk.open()
        except JournalError as error:
            if named is not None:
                raise
            self.read_model.jobs_error = str(error)
            log_event(logger, JobsOff(str(error)))
            return None
        return desk

    def _attach(self, source: Source, is_wanted: bool) -> None:
        """Listen to a source of events, or no longer. The others ask each time."""
        if source is Source.STEPS:
            steps: Steps | None = self._spans
            if is_wanted:
                events = TaskSteps(self.topics)
                steps = events if steps is None else BothSteps(steps, events)
            self.core.listen(steps)
        elif source is Source.JOBS and self.job_desk is not None:
            self.job_desk.jobs.listen(JobStates(self.topics) if is_wanted else None)

    def _held_size_bytes(self) -> int:
        """What is held for others: most of the memory, if it is much."""
        core = self.core
        hub = self.topics.hub
        events_size_bytes = hub.kept_size_bytes + hub.stalled_size_bytes
        return (
            core.queue.size_bytes
            + core.kept_data.size_bytes
            + self._group.unsent_size_bytes
            + events_size_bytes
        )

    def _check_logins(self) -> None:
        """In slices: what is on its way goes first."""
        if self.entrance.check(time.monotonic()):
            self._loop.call_soon(self._check_logins)

    def _keys_withdrawn(self) -> None:
        """Called in another thread."""
        self._loop.call_soon_threadsafe(self._judge_logins)

    def _judge_logins(self) -> None:
        self.entrance.judge_all()
        self._check_logins()

    def _close_ports(self) -> None:
        self._workers.close()
        self._requesters.close()
        self._api.close()


def _default_journal() -> Path:
    """Raises JournalError if this system has no place for one."""
    try:
        return default_path(os.environ, Path.home())
    except RuntimeError:
        raise JournalError("this user has no home directory: name a journal with --journal") from None


def entrance_settings(settings: BrokerSettings) -> EntranceSettings:
    """The part that governs the entrance. The broker also goes by the names of this machine and of its `host`."""
    own_names = (settings.host, socket.gethostname())
    return EntranceSettings(
        hosts=Hosts(settings.allowed_hosts, settings.allowed_origins, own_names),
        trusted_proxies=networks(settings.trusted_proxies),
        address_connections_count_max=settings.address_connections_count_max,
        address_handshakes_per_s=settings.address_handshakes_per_s,
        limits=Limits(
            connections_count_max=settings.account_connections_count_max,
            messages_per_s=settings.account_messages_per_s,
            bytes_per_s=settings.account_bytes_per_s,
            in_flight_count_max=settings.account_in_flight_count_max,
            waiting_size_bytes_max=settings.account_waiting_size_bytes_max,
        ),
    )


def _warn(settings: BrokerSettings, policy: Policy) -> None:
    if policy.is_open and not settings.insecure and not is_loopback(settings.host):
        log_event(logger, OpenToNetwork(settings.host))
    for warning in policy.warnings:
        log_event(logger, AccessFileWarning(warning))


def _spans() -> Steps | None:
    """What listens to the core's steps all the time: if requests are traced."""
    if SWITCH.tracer is None:
        return None
    from .request_spans import RequestSpans  # noqa: PLC0415  needs what only tracing installs

    return RequestSpans(SWITCH.tracer)
