"""A broker as a whole process: event loop, signals, HTTP, the line that says where it listens, and the drain at the
end."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable

import click

from ..transport.loop import new_event_loop
from .broker import Broker
from .settings import BrokerSettings

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module or nothing: asked for below

logger = logging.getLogger(__name__)


def run(settings: BrokerSettings) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. A second signal ends it at once. Raises PortTaken."""
    _raise_file_limit()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: BrokerSettings) -> None:
    stopping = asyncio.Event()
    hurrying = asyncio.Event()

    def on_signal() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    _on_signals(on_signal)
    broker = Broker(settings)
    await broker.start()
    from .http.server import HttpServer  # noqa: PLC0415  workers can dial in while the HTTP libraries load

    http = HttpServer(broker)
    try:
        await http.start()
    except BaseException:
        await broker.stop(0)
        raise
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    click.echo(
        f"taskferry broker ready: workers ws://{host}:{broker.worker_port}  "
        f"requesters ws://{host}:{broker.requester_port}  http http://{host}:{http.port}"
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # connections leave cycles behind, requests do not
    await stopping.wait()
    logger.info("draining: %d requests in flight, %g s at most", broker.core.in_flight_count, settings.grace)
    drain = asyncio.create_task(broker.stop(settings.grace))
    hurry = asyncio.create_task(hurrying.wait())
    await asyncio.wait({drain, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not drain.done():
        drain.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drain
        await broker.stop(0)
    await http.stop()
    logger.info("stopped")


def _on_signals(call: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
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
