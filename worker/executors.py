"""Where handlers that are not coroutines run: the worker's threads and processes, which outlive any one link."""

import os

from .limits import THREAD_COUNT_DEFAULT_MAX
from .process_pool import ProcessPool
from .settings import WorkerSettings
from .thread_pool import ThreadPool


class Executors:
    """The two pools. Neither starts anything before it is needed."""

    __slots__ = ("processes", "threads")

    def __init__(self, settings: WorkerSettings) -> None:
        self.threads = ThreadPool(
            settings.thread_count or min(settings.concurrency, THREAD_COUNT_DEFAULT_MAX)
        )
        self.processes = ProcessPool(
            min(settings.process_count or os.cpu_count() or 1, settings.concurrency),
            settings.max_tasks_per_process,
        )

    def close(self) -> None:
        """End the processes at once, and the threads as they become free."""
        self.threads.close()
        self.processes.close()
