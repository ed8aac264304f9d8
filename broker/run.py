"""A broker as a whole process: event loop, signals, HTTP, the line that says where it listens, and the drain at the
end."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable

import click

from ..configuration.hangup import SIGHUP, Terminal
from ..configuration.sources import Configuration, Sources
from ..log.event import tell
from ..log.reload import Reload
from ..transport.loop import new_event_loop
from .broker import Broker
from .events import BrokerDraining, BrokerStarted, BrokerStopped
from .settings import BROKER

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module or nothing: asked for below

logger = logging.getLogger(__name__)


def run(sources: Sources, configuration: Configuration) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; a second signal ends it at once. SIGHUP has `sources`, from which
    `configuration` was read, read anew. Raises PortTaken and StrategyError."""
    _raise_file_limit()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(sources, configuration))


async def _serve(sources: Sources, configuration: Configuration) -> None:
    terminal = Terminal()
    stopping = asyncio.Event()
    hurrying = asyncio.Event()

    def on_signal() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    reload = Reload(sources, configuration, BROKER)
    settings = reload.settings
    broker = Broker(settings)

    def on_hangup() -> None:
        if terminal.is_gone:
            on_signal()
        else:
            reload.again(broker.reconfigure)

    _on_signals(on_signal, on_hangup)
    await broker.start()
    from .http.server import HttpServer  # noqa: PLC0415  workers can dial in while the HTTP libraries load

    http = HttpServer(broker.read_model, broker.operations)
    try:
        await http.start(settings.host, settings.http_port)
    except BaseException:
        await broker.stop(0)
        raise
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    click.echo(
        f"taskferry broker ready: workers ws://{host}:{broker.worker_port}  "
        f"requesters ws://{host}:{broker.requester_port}  http http://{host}:{http.port}"
    )
    ports = (broker.worker_port, broker.requester_port, http.port)
    tell(logger, BrokerStarted(settings.host, *ports, broker.version))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # connections leave cycles behind, requests do not
    await stopping.wait()
    grace_s = broker.settings.grace
    tell(logger, BrokerDraining(broker.core.in_flight_count, grace_s))
    drain = asyncio.create_task(broker.stop(grace_s))
    hurry = asyncio.create_task(hurrying.wait())
    await asyncio.wait({drain, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not drain.done():
        drain.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drain
        await broker.stop(0)
    await http.stop()
    tell(logger, BrokerStopped())


def _on_signals(call: Callable[[], None], on_hangup: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    if SIGHUP is not None:
        loop.add_signal_handler(SIGHUP, on_hangup)
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, call)
        except NotImplementedError:  # Windows' event loops know no signals
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))


def _raise_file_limit() -> None:
    """Let the process open as many connections as the system allows it: the soft limit is often 1,024."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
