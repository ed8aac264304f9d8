"""Families about each command: what became of its requests, where their time went, who serves it."""

from collections.abc import Callable, Iterator
from typing import Final

from ..core.fleet.command import Command
from ..core.measures.exemplars import Exemplars
from ..core.measures.histogram import Histogram
from .family import Family, HistogramFamily, LabelValues, NumberFamily
from .subjects import Subjects


def _outcomes(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for command in subjects.named:
        for outcome, count in command.outcomes.items():
            yield (command.name, outcome), count


def _depths(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for command in subjects.commands:
        yield (command.name,), command.waiting_count
    if subjects.other is not None:
        yield (subjects.other.name,), sum(command.waiting_count for command in subjects.unlisted)


def _overloads(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for command in subjects.commands:
        yield (command.name,), command.route.overload.is_overloaded
    if subjects.other is not None:
        yield (
            (subjects.other.name,),
            any(command.route.overload.is_overloaded for command in subjects.unlisted),
        )


def _workers(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for command in subjects.commands:
        pool = command.route.pool
        yield (command.name,), 0 if pool is None else len(pool.members)


def _slots(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for command in subjects.commands:
        pool = command.route.pool
        yield (command.name,), 0 if pool is None else pool.slots_count


Rows = Iterator[tuple[LabelValues, Histogram, Exemplars | None]]


def _of_each(histogram: Callable[[Command], Histogram]) -> Callable[[Subjects], Rows]:
    """One histogram of each command that has seen a request: what was only announced costs no text."""

    def read(subjects: Subjects) -> Rows:
        for command in subjects.named:
            if command.outcomes:
                yield (command.name,), histogram(command), None

    return read


def _durations(subjects: Subjects) -> Rows:
    for command in subjects.named:
        if command.outcomes:
            yield (command.name,), command.duration, command.exemplars


COMMANDS: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_requests_total",
        "counter",
        ("command", "outcome"),
        "Ended requests.",
        _outcomes,
    ),
    NumberFamily(
        "taskferry_queue_depth",
        "gauge",
        ("command",),
        "Requests waiting for a slot.",
        _depths,
    ),
    NumberFamily(
        "taskferry_queue_overloaded",
        "gauge",
        ("command",),
        "1 while requests come faster than they are done.",
        _overloads,
    ),
    NumberFamily(
        "taskferry_command_workers",
        "gauge",
        ("command",),
        "Connected workers that serve it and do not drain.",
        _workers,
    ),
    NumberFamily(
        "taskferry_command_slots",
        "gauge",
        ("command",),
        "Slots of these workers, free or not.",
        _slots,
    ),
    HistogramFamily(
        "taskferry_request_duration_seconds",
        ("command",),
        "From admission to outcome.",
        _durations,
    ),
    HistogramFamily(
        "taskferry_queue_wait_seconds",
        ("command",),
        "Of requests that waited for a slot.",
        _of_each(lambda command: command.queue_wait),
    ),
    HistogramFamily(
        "taskferry_worker_duration_seconds",
        ("command",),
        "From sending the assignment that was answered to its response, network included.",
        _of_each(lambda command: command.worker_duration),
    ),
    HistogramFamily(
        "taskferry_broker_duration_seconds",
        ("command",),
        "In the broker itself, of requests that a worker answered: neither waiting nor the worker's.",
        _of_each(lambda command: command.broker_duration),
    ),
)
