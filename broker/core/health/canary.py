"""Canaries check whether a worker still works, or only its link is alive: a command that is run every few seconds.

The worker declares which of its commands. A canary is sent only if there is no other sign of life: a worker that ends
assignments works, and one without a free slot may be busy. A canary takes a slot and the same way through the worker as
any assignment. This module says when one is due; the core sends it, and health.py judges the answer.
"""

from typing import Final

from ..fleet.worker import Worker

CANARY_INTERVAL_S: Final = 10.0
"""After this time without a result, a worker is sent a canary."""

CANARY_TIMEOUT_S: Final = 5.0
"""A canary without an answer for this long is overdue, and a healthy worker becomes suspect. If it still has not
succeeded after the same time again, the worker is ejected."""


class Canaries:
    """The connected workers that have declared a canary."""

    __slots__ = ("workers",)

    def __init__(self) -> None:
        self.workers: dict[Worker, None] = {}

    def due(self, now: float) -> list[Worker]:
        """Workers that have to be sent a canary now."""
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
        """A canary was sent, under `msg_id`."""
        worker.canary_msg_id = msg_id
        worker.canary_due_at = now + CANARY_TIMEOUT_S

    def answered(self, worker: Worker, now: float) -> None:
        """The worker has answered its canary."""
        worker.canary_msg_id = None
        worker.canary_due_at = now + CANARY_INTERVAL_S

    def _is_idle(self, worker: Worker, now: float) -> bool:
        """No canary is unanswered, there is room for one, and nothing has ended since the last check."""
        if worker.canary_msg_id is not None or worker.in_flight_count >= worker.capacity:
            return False
        if not worker.has_place_for(worker.canary or ""):
            return False
        ended_count = sum(tally.ended_count for tally in worker.commands.values())
        if ended_count != worker.canary_ended_count:
            worker.canary_ended_count = ended_count
            worker.canary_due_at = now + CANARY_INTERVAL_S
            return False
        return True
