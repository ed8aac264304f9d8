"""Threads for plain handlers: daemons, so that a handler that never returns cannot keep the program from exiting.

The standard library's executor joins its threads when the interpreter exits, and costs a condition and two futures per
call; this one costs a queue entry.
"""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from ..log.event import log_event
from .events import ThreadNotStarted

logger = logging.getLogger(__name__)

Job = Callable[[], None]


class ThreadPool:
    """At most `count_max` threads, started as they are needed. A job must not raise."""

    __slots__ = ("_count_max", "_idle", "_jobs", "_thread_count", "_waiting_count")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._thread_count = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._waiting_count = 0
        """Jobs that were queued although no thread was free for them, and whose idle tokens are still to be taken."""

    def submit(self, job: Job) -> None:
        """Run `job` in the next free thread. Called from one thread only.

        If the system refuses another thread, the job waits for one of those that there are. Raises RuntimeError (or
        MemoryError) if there is none at all; the job is not run then, and the next one is tried like the first.
        """
        if self._thread_count < self._count_max and not self._is_thread_free():
            try:
                self._start_thread()
            except (RuntimeError, MemoryError) as error:
                if not self._thread_count:
                    raise
                self._waiting_count += 1
                log_event(logger, ThreadNotStarted(str(error) or type(error).__name__, self._thread_count))
        self._jobs.put(job)

    def close(self) -> None:
        """End each thread when it becomes free. What is queued is still run first."""
        for _ in range(self._thread_count):
            self._jobs.put(None)

    def _is_thread_free(self) -> bool:
        """Whether a thread waits for the next job; it has it then."""
        while self._waiting_count:
            if not self._idle.acquire(blocking=False):
                return False
            self._waiting_count -= 1
        return self._idle.acquire(blocking=False)

    def _start_thread(self) -> None:
        name = f"handler-{self._thread_count + 1}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._thread_count += 1

    def _work(self) -> None:
        # One job per idle token: a submit that takes the token knows that this thread is waiting for its job.
        while (job := self._jobs.get()) is not None:
            job()
            del job
            self._idle.release()
