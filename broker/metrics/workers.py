"""Families about workers: all of them by state, and each while it is connected."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ..core.fleet.worker import WorkerState
from .family import Family, LabelValues, NumberFamily, total
from .subjects import Subjects


def _states(subjects: Subjects) -> list[tuple[LabelValues, float]]:
    counts = Counter(worker.state for worker in subjects.broker.core.roster.workers.values())
    return [((state.value,), counts[state]) for state in WorkerState if state is not WorkerState.GONE]


def _assignments(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for worker in subjects.workers:
        succeeded_count, failed_count = worker.ended_counts()
        yield ("success", worker.worker_id), succeeded_count
        yield ("failure", worker.worker_id), failed_count


WORKERS: Final[tuple[Family, ...]] = (
    NumberFamily("taskferry_workers", "gauge", ("state",), "Connected workers.", _states),
    NumberFamily(
        "taskferry_ejections_total",
        "counter",
        ("cause",),
        "Workers ejected.",
        lambda subjects: [
            ((cause,), count) for cause, count in subjects.broker.core.health.ejections.counts.items()
        ],
    ),
    NumberFamily(
        "taskferry_readmissions_total",
        "counter",
        (),
        "Workers trusted again after an ejection.",
        lambda subjects: total(subjects.broker.core.health.ejections.readmitted_count),
    ),
    NumberFamily(
        "taskferry_worker_in_flight",
        "gauge",
        ("worker",),
        "Slots taken.",
        lambda subjects: (((worker.worker_id,), worker.in_flight_count) for worker in subjects.workers),
    ),
    NumberFamily(
        "taskferry_worker_slots",
        "gauge",
        ("worker",),
        "Slots in all.",
        lambda subjects: (((worker.worker_id,), worker.concurrency) for worker in subjects.workers),
    ),
    NumberFamily(
        "taskferry_worker_speed",
        "gauge",
        ("worker",),
        "Learned from durations: 1 is as fast as its peers.",
        lambda subjects: (((worker.worker_id,), worker.speed) for worker in subjects.workers),
    ),
    NumberFamily(
        "taskferry_assignments_total",
        "counter",
        ("outcome", "worker"),
        "Assignments that a worker ended.",
        _assignments,
    ),
)
