"""A worker as a program: an event loop, signals, an exit code.

Knows what a person or a process supervisor does to a program; knows nothing of brokers or messages.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ..transport.loop import new_event_loop
from .source_watch import POLL_INTERVAL_S, SourceWatch

if TYPE_CHECKING:
    from .worker import Worker

logger = logging.getLogger(__name__)

EXIT_USAGE: Final = 2
"""Exit code for what trying again cannot mend: wrong options, a module that does not load, a refusal by the broker."""

EXIT_RELOAD: Final = 3
"""Exit code by which a worker asks whoever supervises it to be started again: its source has changed."""

_STOPPING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_program(
    worker: "Worker", url: str, *, is_supervised: bool = False, sources: SourceWatch | None = None
) -> int:
    """Serve until told to stop; the exit code: 0, EXIT_RELOAD, or 128 + the signal that stopped it at once.

    The first SIGINT or SIGTERM drains, the second stops at once. `is_supervised`: a further signal changes nothing,
    because a terminal and a service manager send each signal to the whole group. `sources`: drain when one changes.
    Raises as `Worker.serve` does.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(worker, url, is_supervised=is_supervised, sources=sources))


def set_up_logging(level: int, *, is_child: bool = False) -> None:
    """Log to stderr from `level` on, unless logging has been set up already. `is_child`: tell the processes apart."""
    process = " [%(process)d]" if is_child else ""
    form = f"%(asctime)s{process} %(levelname)-7s %(message)s"
    logging.basicConfig(level=level, format=form, datefmt="%H:%M:%S")


def stop_when_supervisor_ends() -> None:
    """Have SIGTERM raised here once standard input ends: a supervisor holds its other end for as long as it lives and
    wants this process to live."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 1024):
                pass
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


@contextlib.contextmanager
def signals_handled(receive: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Have `receive` called in the running loop for SIGINT and SIGTERM. Outside the main thread, where Python cannot
    have signals, without effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {signum: signal.getsignal(signum) for signum in _STOPPING_SIGNALS}
    for signum in _STOPPING_SIGNALS:
        try:
            loop.add_signal_handler(signum, receive, signum)
        except NotImplementedError:  # Windows

            def receive_in_loop(number: int, _: object) -> None:
                loop.call_soon_threadsafe(receive, signal.Signals(number))

            signal.signal(signum, receive_in_loop)
    try:
        yield
    finally:
        for signum, handler in before.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(signum)
            signal.signal(signum, handler)


async def _serve(worker: "Worker", url: str, *, is_supervised: bool, sources: SourceWatch | None) -> int:
    serving = asyncio.current_task()
    assert serving is not None
    received: list[signal.Signals] = []

    def receive(signum: signal.Signals) -> None:
        received.append(signum)
        if len(received) == 1:
            more = "" if is_supervised else "; once more to stop at once"
            logger.info(
                "%s: finishing what runs, for %g s at most%s", signum.name, worker.settings.grace_s, more
            )
            worker.drain()
        elif not is_supervised:
            serving.cancel()

    if sources is not None:
        sources.look()
    watching = asyncio.ensure_future(_drain_when_changed(worker, sources)) if sources is not None else None
    try:
        with signals_handled(receive):
            await worker.serve(url)
    except asyncio.CancelledError:
        if len(received) < 2:
            raise
        return 128 + received[-1]
    finally:
        if watching is not None:
            watching.cancel()
    return EXIT_RELOAD if sources is not None and sources.changed is not None and not received else 0


async def _drain_when_changed(worker: "Worker", sources: SourceWatch) -> None:
    while True:
        await asyncio.sleep(POLL_INTERVAL_S)
        if sources.look():
            logger.info("%s has changed: starting anew", sources.changed)
            worker.drain()
            return
