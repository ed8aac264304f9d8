"""A broker as a process: event loop, signals, HTTP port, the line that says where it listens, and the drain."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..configuration.sources import Configuration, ConfigurationError, Sources
from ..log.event import log_event
from ..program.loop import new_event_loop
from ..program.open_files import raise_open_files_limit
from ..program.reload import OtherFile, Reload
from ..program.signals import signals_handled
from ..transport.tls_start import TlsContext
from .broker import Broker
from .events import BrokerDraining, BrokerStarted, BrokerStopped
from .identity.access_file import read_policy
from .identity.policy import OPEN, Policy
from .plugins import load_plugins
from .settings import BROKER, BrokerSettings
from .tls import ServerTls, tls_of

if TYPE_CHECKING:
    from .http.server import HttpServer

logger = logging.getLogger(__name__)


def run(sources: Sources, configuration: Configuration) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; a second signal stops at once. SIGHUP reads `sources`, the access file
    and the certificate again.

    `configuration` was read from `sources`. Raises ConfigurationError (for the access file and the certificate),
    JournalError, PortTaken and StrategyError.
    """
    raise_open_files_limit()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(sources, configuration))


async def _serve(sources: Sources, configuration: Configuration) -> None:
    stopping = asyncio.Event()
    hurrying = asyncio.Event()

    def on_stop(_: signal.Signals) -> None:
        (hurrying if stopping.is_set() else stopping).set()

    reload = Reload(sources, configuration, BROKER)
    load_plugins(reload.settings.plugins)
    tls = tls_of(reload.settings)
    context = tls.context if tls else None
    broker = Broker(reload.settings, _policy(reload.settings), context)
    others = _other_files(broker, tls)
    with signals_handled(on_stop, lambda: reload.soon(broker.reconfigure, others)):
        await broker.start()
        http = await _started_http(broker, context)
        _announce(broker, http, is_encrypted=tls is not None)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)  # connections leave reference cycles, requests do not
        await stopping.wait()
        reload.stop()
        await _stop(broker, hurrying)
        await http.stop()
        log_event(logger, BrokerStopped())


def _policy(settings: BrokerSettings) -> Policy:
    """What the access file says; without one, everyone may do everything. Blocks. Raises ConfigurationError."""
    return OPEN if settings.access is None else read_policy(Path(settings.access))


def _other_files(broker: Broker, tls: ServerTls | None) -> list[OtherFile[BrokerSettings]]:
    """What is read again besides the configuration."""

    def read_access(settings: BrokerSettings) -> Callable[[], None] | None:
        if settings.access is None and broker.entrance.is_open:
            return None
        try:
            policy = _policy(settings)
        except ConfigurationError as error:
            if broker.entrance.is_open:
                raise ConfigurationError(
                    [f"{error}; access is still off: whoever can connect may do everything"]
                ) from None
            raise
        return lambda: broker.take_access(policy)

    files = [OtherFile("access file", read_access)]
    if tls is not None:
        files.append(OtherFile("certificate", lambda _: tls.read_again()))
    return files


async def _started_http(broker: Broker, tls: TlsContext | None) -> "HttpServer":
    from .http.server import HttpServer  # noqa: PLC0415  workers can connect while the HTTP libraries load

    http = HttpServer(broker.read_model, broker.operations, broker.entrance, tls=tls)
    try:
        await http.start(broker.settings.host, broker.settings.http_port)
    except BaseException:
        await broker.stop(0)
        raise
    return http


def _announce(broker: Broker, http: "HttpServer", *, is_encrypted: bool) -> None:
    host = broker.settings.host
    place = f"[{host}]" if ":" in host else host
    s = "s" if is_encrypted else ""
    with contextlib.suppress(OSError):  # a full disk is no reason not to serve
        click.echo(
            f"taskferry broker ready: workers ws{s}://{place}:{broker.worker_port}  "
            f"requesters ws{s}://{place}:{broker.requester_port}  http http{s}://{place}:{http.port}  "
            f"api http{s}://{place}:{broker.api_port}"
        )
    ports = (broker.worker_port, broker.requester_port, http.port, broker.api_port)
    log_event(logger, BrokerStarted(host, *ports, broker.version))


async def _stop(broker: Broker, hurrying: asyncio.Event) -> None:
    """Let requests in flight end within the grace period, or until `hurrying` is set."""
    grace_s = broker.settings.grace_s
    broker.drain()
    log_event(logger, BrokerDraining(broker.core.counts.in_flight_count, grace_s))
    drain = asyncio.create_task(broker.stop(grace_s))
    hurry = asyncio.create_task(hurrying.wait())
    await asyncio.wait({drain, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if drain.done():
        return
    drain.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await drain
    await broker.stop(0)
