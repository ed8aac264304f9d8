"""A broker as a process: event loop, signals, HTTP port, the line that says where it listens, and the drain."""

import asyncio
import contextlib
import gc
import logging
import signal
from typing import TYPE_CHECKING

import click

from ..configuration.sources import Configuration, Sources
from ..log.event import log_event
from ..program.loop import new_event_loop
from ..program.open_files import raise_open_files_limit
from ..program.reload import Reload
from ..program.signals import signals_handled
from .access_reload import AccessReload, policy_in
from .broker import Broker
from .events import BrokerDraining, BrokerStarted, BrokerStopped
from .settings import BROKER

if TYPE_CHECKING:
    from .http.server import HttpServer

logger = logging.getLogger(__name__)


def run(sources: Sources, configuration: Configuration) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; a second signal stops at once. SIGHUP reads `sources` and the access
    file again.

    `configuration` was read from `sources`. Raises ConfigurationError (for the access file), PortTaken and
    StrategyError.
    """
    raise_open_files_limit()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(sources, configuration))


async def _serve(sources: Sources, configuration: Configuration) -> None:
    stopping = asyncio.Event()
    hurrying = asyncio.Event()

    def on_stop(_: signal.Signals) -> None:
        (hurrying if stopping.is_set() else stopping).set()

    def on_reload() -> None:
        reload.again(broker.reconfigure)
        if broker.settings.access is not None or not broker.entrance.is_open:
            access_reload.again(broker.settings.access)

    reload = Reload(sources, configuration, BROKER)
    broker = Broker(reload.settings, policy_in(reload.settings.access))
    access_reload = AccessReload(broker.take_access)
    with signals_handled(on_stop, on_reload):
        await broker.start()
        http = await _started_http(broker)
        _announce(broker, http)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)  # connections leave reference cycles, requests do not
        await stopping.wait()
        access_reload.stop()
        await _stop(broker, hurrying)
        await http.stop()
        log_event(logger, BrokerStopped())


async def _started_http(broker: Broker) -> "HttpServer":
    from .http.server import HttpServer  # noqa: PLC0415  workers can connect while the HTTP libraries load

    http = HttpServer(broker.read_model, broker.operations)
    try:
        await http.start(broker.settings.host, broker.settings.http_port)
    except BaseException:
        await broker.stop(0)
        raise
    return http


def _announce(broker: Broker, http: "HttpServer") -> None:
    host = broker.settings.host
    place = f"[{host}]" if ":" in host else host
    click.echo(
        f"taskferry broker ready: workers ws://{place}:{broker.worker_port}  "
        f"requesters ws://{place}:{broker.requester_port}  http http://{place}:{http.port}"
    )
    ports = (broker.worker_port, broker.requester_port, http.port)
    log_event(logger, BrokerStarted(host, *ports, broker.version))


async def _stop(broker: Broker, hurrying: asyncio.Event) -> None:
    """Let requests in flight end within the grace period, or until `hurrying` is set."""
    grace_s = broker.settings.grace_s
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
