"""Threads for plain handlers: daemons, so that a handler that never returns cannot keep the program from exiting.

The standard library's executor joins its threads when the interpreter exits, and costs a condition and two futures per
call; this one costs a queue entry.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class ThreadPool:
    """At most `count_max` threads, started as they are needed. A job must not raise."""

    __slots__ = ("_count_max", "_idle", "_jobs", "_thread_count")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._thread_count = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, job: Job) -> None:
        """Run `job` in the next free thread. Called from one thread only."""
        self._jobs.put(job)
        if self._thread_count < self._count_max and not self._idle.acquire(blocking=False):
            self._thread_count += 1
            threading.Thread(target=self._work, name=f"handler-{self._thread_count}", daemon=True).start()

    def close(self) -> None:
        """End each thread when it becomes free. What is queued is still run first."""
        for _ in range(self._thread_count):
            self._jobs.put(None)

    def _work(self) -> None:
        # One job per idle token: a submit that takes the token knows that this thread is waiting for its job.
        while (job := self._jobs.get()) is not None:
            job()
            del job
            self._idle.release()
