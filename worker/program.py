"""A worker as a program: an event loop, signals, an exit code.

Must not know brokers or messages.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from ..log.event import log_event
from ..program.events import ReloadRefused
from ..program.loop import new_event_loop
from ..program.signals import signals_handled
from .events import SourceChanged, WorkerDraining
from .source_watch import POLL_INTERVAL_S, SourceWatch

if TYPE_CHECKING:
    from .worker import Worker

logger = logging.getLogger(__name__)

EXIT_RELOAD: Final = 3
"""The exit code of a worker that its supervisor should restart, because its source has changed."""


def reload_nothing() -> None:
    """The answer to SIGHUP if there is no file."""
    log_event(logger, ReloadRefused("this worker was not started with --config"))


def run_program(
    worker: "Worker",
    serve: Callable[[], Awaitable[None]],
    *,
    is_supervised: bool = False,
    sources: SourceWatch | None = None,
    on_reload: Callable[[], None] = reload_nothing,
) -> int:
    """Run `serve`, by which `worker` serves, until told to stop; the exit code: 0, EXIT_RELOAD, or 128 + the signal
    that stopped it at once.

    The first SIGINT or SIGTERM drains, the second stops at once. `is_supervised`: further signals are ignored, because
    terminals and service managers send each signal to the whole process group. `sources`: drain when one of them
    changes. `on_reload`: called at SIGHUP. Raises what `serve` does.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(
            _serve(worker, serve, is_supervised=is_supervised, sources=sources, on_reload=on_reload)
        )


def refuse_while_imported() -> None:
    """Raise SystemExit if the program that starts a worker is only imported by a process that another program has
    started with `multiprocessing`, such as those for its handlers: it would be a second worker.

    That such a process imports, and does not run yet, is seen from the name of the module that it makes of the program,
    which is there before the process knows its parent.
    """
    name = getattr(sys.modules.get("__mp_main__"), "__name__", "")
    if name == "__mp_main__" and multiprocessing.parent_process() is None:
        raise SystemExit(
            "error: this program starts a worker as soon as it is imported, and a process that it has started does "
            'import it: start the worker under `if __name__ == "__main__":`'
        )


def stop_when_supervisor_ends() -> None:
    """Raise SIGTERM in this process once standard input ends. The supervisor closes the other end to stop this process,
    and the system closes it if the supervisor dies.

    Standard input moves to a descriptor of its own for that. Handlers, and the programs that they start, read from the
    null device, where nothing is to be waited for.
    """
    lifeline = os.dup(sys.stdin.fileno())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(lifeline, 1024):
                pass
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


async def _serve(
    worker: "Worker",
    serve: Callable[[], Awaitable[None]],
    *,
    is_supervised: bool,
    sources: SourceWatch | None,
    on_reload: Callable[[], None],
) -> int:
    serving = asyncio.current_task()
    assert serving is not None
    received: list[signal.Signals] = []

    def receive(signum: signal.Signals) -> None:
        received.append(signum)
        if len(received) == 1:
            hint = "" if is_supervised else "; send it again to stop at once"
            log_event(logger, WorkerDraining(signum.name, worker.settings.grace_s, hint))
            worker.drain()
        elif not is_supervised:
            serving.cancel()

    if sources is not None:
        sources.look()
    watching = asyncio.ensure_future(_drain_when_changed(worker, sources)) if sources is not None else None
    try:
        with signals_handled(receive, on_reload):
            await serve()
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
            log_event(logger, SourceChanged(str(sources.changed)))
            worker.drain()
            return
