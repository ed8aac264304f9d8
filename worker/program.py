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
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ..log.event import log_event
from ..program.events import ReloadRefused
from ..program.interrupts import ignore_signal, keep_to_the_end
from ..program.loop import new_event_loop
from ..program.signals import STOPPING, signals_handled
from .events import SourceChanged, WorkerDraining
from .last_moment import LastMoment, UnwaitedExecutor

if TYPE_CHECKING:
    from .source_watch import SourceWatch
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
    is_whole: bool = False,
    sources: "SourceWatch | None" = None,
    on_reload: Callable[[], None] = reload_nothing,
) -> int:
    """Run `serve`, by which `worker` serves, until told to stop; the exit code: 0, EXIT_RELOAD, or 128 + the signal
    that stopped it at once.

    The first SIGINT or SIGTERM drains, the second stops at once. `is_supervised`: further signals are ignored, because
    terminals and service managers send each signal to the whole process group. `is_whole`: nothing comes after it in
    this process. `sources`: drain when one of them changes. `on_reload`: called at SIGHUP. Raises what `serve` does.

    Once it was told to stop, the process ends when the grace is over, or at the second signal, whatever still runs.
    """
    run = _Run(worker, is_supervised=is_supervised, is_whole=is_whole, sources=sources)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(run.serve(serve, on_reload))
    run.end()
    return code


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
        if hasattr(
            signal, "pthread_kill"
        ):  # the main thread must notice, also where the system makes it wait
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


class _Run:
    """One run of a worker as a program."""

    def __init__(
        self, worker: "Worker", *, is_supervised: bool, is_whole: bool, sources: "SourceWatch | None"
    ) -> None:
        self._worker = worker
        self._is_supervised = is_supervised
        self._is_whole = is_whole
        self._sources = sources
        self._last_moment = LastMoment(is_whole=is_whole)
        self._handlers: dict[int, Any] = {}
        self._arrived: list[int] = []
        self._received_count = 0
        self._serving: asyncio.Task[Any] | None = None

    async def serve(self, serve: Callable[[], Awaitable[None]], on_reload: Callable[[], None]) -> int:
        """Run `serve` until told to stop; the exit code."""
        self._serving = asyncio.current_task()
        asyncio.get_running_loop().set_default_executor(UnwaitedExecutor(thread_name_prefix="asyncio"))
        watching = None
        if self._sources is not None:
            watching = asyncio.ensure_future(self._drain_when_changed(self._sources))
        try:
            with signals_handled(self._receive, on_reload, self._signal_released):
                self._note_signals()
                await serve()
        except asyncio.CancelledError:
            if len(self._arrived) < 2:
                raise
        finally:
            if watching is not None:
                watching.cancel()
            if self._last_moment.ends_at < float("inf"):
                self._last_moment.worker_ended()
        return self._last_moment.code

    def end(self) -> None:
        """The worker has ended. If nothing comes after it, so does the process, perhaps here."""
        if self._is_whole:
            self._last_moment.wait()
        else:
            self._last_moment.loop_closed()

    def _signal_released(self, number: int) -> None:
        """The event loop handles it no more."""
        if not self._is_whole or number not in STOPPING:
            ignore_signal(number)
            return
        self._handlers[number] = None
        signal.signal(number, self._arrive)
        keep_to_the_end(self._arrive)

    def _note_signals(self) -> None:
        """Note each at once, also while the event loop is blocked, which learns of them in its own way."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                # Interrupts what the system makes the main thread wait for: Python calls the handler, and waits on.
                self._handlers[number] = signal.signal(number, self._arrive)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers.get(number)
        if callable(handler):
            handler(number, frame)
        self._arrived.append(number)
        arrived_count = 0
        while arrived_count < len(self._arrived):  # another one may arrive in the middle of this
            arrived_count = len(self._arrived)
            if arrived_count == 1:
                self._last_moment.stop(self._worker.settings.grace_s)
            elif not self._is_supervised:
                self._last_moment.stop(0.0, 128 + self._arrived[-1])

    def _receive(self, signum: signal.Signals) -> None:
        self._received_count += 1
        if len(self._arrived) < self._received_count:  # of a terminal that was closed
            self._arrive(signum, None)
        if self._received_count == 1:
            hint = "" if self._is_supervised else "; send it again to stop at once"
            log_event(logger, WorkerDraining(signum.name, self._worker.settings.grace_s, hint))
            self._worker.drain()
        elif not self._is_supervised and self._serving is not None:
            self._serving.cancel()

    async def _drain_when_changed(self, sources: "SourceWatch") -> None:
        from .source_watch import POLL_INTERVAL_S  # noqa: PLC0415  its library is for --reload alone

        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            if sources.look():
                log_event(logger, SourceChanged(str(sources.changed)))
                if not self._arrived:
                    self._last_moment.stop(self._worker.settings.grace_s, EXIT_RELOAD)
                    self._worker.drain()
                return
