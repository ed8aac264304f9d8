"""Does a worker consume, or does only its link live? A canary finds out: a command of its own, run every few seconds.

Declared by the worker, and sent only while it shows no other sign of life: one that ends assignments consumes, and one
whose slots are all taken may be at work. A canary takes a slot like any assignment, on the same way through the worker.
Says what is due; the core sends it, ejection.py and the roster judge.
"""

from typing import Final

from ..fleet.worker import Worker

CANARY_INTERVAL_S: Final = 10.0
"""Without a result for this long, a worker is sent a canary."""

CANARY_TIMEOUT_S: Final = 5.0
"""A canary that has not succeeded by then is overdue: the worker is suspect; after as long again, ejected."""


class Canaries:
    """The connected workers that have declared a canary."""

    __slots__ = ("workers",)

    def __init__(self) -> None:
        self.workers: dict[Worker, None] = {}

    def due(self, now: float) -> list[Worker]:
        """Workers to which a canary has to be sent now."""
        return [
            worker for worker in self.workers if worker.canary_due_at <= now and self._is_idle(worker, now)
        ]

    def overdue(self, now: float) -> list[Worker]:
        """Workers that have not answered theirs in time."""
        return [
            worker
            for worker in self.workers
            if worker.canary_msg_id is not None and worker.canary_due_at <= now
        ]

    def sent(self, worker: Worker, msg_id: str, now: float) -> None:
        """A canary is on its way under `msg_id`."""
        worker.canary_msg_id = msg_id
        worker.canary_due_at = now + CANARY_TIMEOUT_S

    def answered(self, worker: Worker, now: float) -> None:
        """It has come back."""
        worker.canary_msg_id = None
        worker.canary_due_at = now + CANARY_INTERVAL_S

    def _is_idle(self, worker: Worker, now: float) -> bool:
        """No canary is out, a slot is free, and nothing has ended since the last look."""
        if worker.canary_msg_id is not None or worker.in_flight_count >= worker.capacity:
            return False
        ended_count = sum(tally.ended_count for tally in worker.commands.values())
        if ended_count != worker.canary_ended_count:
            worker.canary_ended_count = ended_count
            worker.canary_due_at = now + CANARY_INTERVAL_S
            return False
        return True
