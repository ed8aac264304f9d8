"""Attempts whose worker's connection was lost, or whose broker has restarted: for a while the worker may come back with
them."""

from .job import Job
from .lanes import NEVER


class Orphans:
    """Each with the time at which it is lost, in seconds since 1970."""

    __slots__ = ("_by_worker", "_until")

    def __init__(self) -> None:
        self._until: dict[Job, float] = {}
        self._by_worker: dict[str | None, dict[Job, None]] = {}

    @property
    def next_at(self) -> float:
        """When the next one is lost."""
        return next(iter(self._until.values())) if self._until else NEVER

    @property
    def jobs(self) -> list[Job]:
        """All of them."""
        return list(self._until)

    def add(self, job: Job, until: float) -> None:
        """Its worker has gone. Later ones have later times, or slightly earlier ones, which then wait a little."""
        self._until[job] = until
        self._by_worker.setdefault(job.worker_id, {})[job] = None

    def remove(self, job: Job) -> None:
        """It is decided."""
        if job in self._until:
            del self._until[job]
            others = self._by_worker[job.worker_id]
            del others[job]
            if not others:
                del self._by_worker[job.worker_id]

    def of_worker(self, worker_id: str) -> list[Job]:
        """Those of this worker."""
        return list(self._by_worker.get(worker_id, ()))

    def due(self, now: float) -> list[Job]:
        """Those that are lost by now."""
        due: list[Job] = []
        for job, until in self._until.items():
            if until > now:
                break
            due.append(job)
        return due

    def begin_again(self, until: float) -> None:
        """All of them have until then."""
        self._until = dict.fromkeys(self._until, until)
