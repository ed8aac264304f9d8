"""Families about workers: all of them by state, and each while it is connected."""

from collections.abc import Iterator
from typing import Final

from ..read_model import Subjects
from .family import Family, LabelValues, NumberFamily, total


def _assignments(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for worker in subjects.workers:
        succeeded_count, failed_count = worker.ended_counts()
        yield ("success", worker.worker_id), succeeded_count
        yield ("failure", worker.worker_id), failed_count


WORKERS: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_workers",
        "gauge",
        ("state",),
        "Connected workers.",
        lambda subjects: [((state,), count) for state, count in subjects.model.worker_states().items()],
    ),
    NumberFamily(
        "taskferry_ejections_total",
        "counter",
        ("cause",),
        "Workers ejected.",
        lambda subjects: [((cause,), count) for cause, count in subjects.model.totals().ejected.items()],
    ),
    NumberFamily(
        "taskferry_readmissions_total",
        "counter",
        (),
        "Workers readmitted after an ejection.",
        lambda subjects: total(subjects.model.totals().readmitted_count),
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
