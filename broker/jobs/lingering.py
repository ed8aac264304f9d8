"""Attempts that are over for the broker, and perhaps not for their worker: cancelled, or out of time.

The worker was told to stop, and takes a slot until it answers. A handler that cannot be stopped may go on for long. Who
counts what really runs has to count these as well: until the worker has answered; or its connection is lost, and it has
not come back in the time that it has for that; or it is back, and was told to forget the attempt.
"""

from typing import Final

from ..core.core import Core
from .job import Job

NEVER: Final = float("inf")


class Stay:
    """One of them."""

    __slots__ = ("job_id", "key", "msg_id", "worker_id")

    def __init__(self, msg_id: str, worker_id: str, key: str, job_id: str) -> None:
        self.msg_id = msg_id
        self.worker_id = worker_id
        self.key = key
        self.job_id = job_id


class Lingering:
    """Those of jobs with a key: no more than there are slots. `adoption_s`: how long a worker has to come back.
    `workers`: those of the core."""

    __slots__ = ("_by_msg_id", "_by_worker", "_until", "adoption_s", "workers")

    def __init__(self, core: Core, adoption_s: float) -> None:
        self.workers = core.roster.workers
        self._by_msg_id: dict[str, Stay] = {}
        self._by_worker: dict[str, dict[Stay, None]] = {}
        self._until: dict[Stay, float] = {}
        self.adoption_s = adoption_s

    @property
    def next_at(self) -> float:
        """When to call `due` next."""
        return next(iter(self._until.values())) if self._until else NEVER

    @property
    def stays(self) -> dict[str, Stay]:
        """All of them, by msg_id."""
        return self._by_msg_id

    def add(self, job: Job, now: float) -> Stay | None:
        """The attempt of `job`, which has a key, is over without an answer of its worker; None if there was one
        meanwhile."""
        key, msg_id, worker_id = job.new.key, job.msg_id, job.worker_id
        assert key is not None
        assert msg_id is not None
        assert worker_id is not None
        worker = self.workers.get(worker_id)
        if worker is not None and msg_id not in worker.assignments:
            return None
        stay = self._by_msg_id[msg_id] = Stay(msg_id, worker_id, key, job.new.job_id)
        self._by_worker.setdefault(worker_id, {})[stay] = None
        if worker is None:
            self._until[stay] = now + self.adoption_s
        return stay

    def answered(self, msg_id: str) -> Stay | None:
        """A worker has answered this attempt, or forgets it. Returns what is known of it."""
        stay = self._by_msg_id.pop(msg_id, None)
        if stay is not None:
            self._until.pop(stay, None)
            others = self._by_worker[stay.worker_id]
            del others[stay]
            if not others:
                del self._by_worker[stay.worker_id]
        return stay

    def worker_left(self, worker_id: str, now: float) -> None:
        """Its connection is lost."""
        for stay in self._by_worker.get(worker_id, ()):
            self._until.setdefault(stay, now + self.adoption_s)

    def of_worker(self, worker_id: str) -> list[Stay]:
        """Those of this worker."""
        return list(self._by_worker.get(worker_id, ()))

    def due(self, now: float) -> list[Stay]:
        """Those whose worker has not come back in time."""
        return [stay for stay, until in self._until.items() if until <= now]

    def begin_again(self, until: float) -> None:
        """All workers that are away have until then."""
        self._until = dict.fromkeys(self._until, until)
