"""Families about each command: the outcomes of its requests, where their time went, which workers serve it."""

from collections.abc import Callable, Iterator
from typing import Final

from ..core.measures.exemplars import Exemplars
from ..core.measures.histogram import Histogram
from ..read_model import CommandReading, Subjects
from .family import Family, HistogramFamily, LabelValues, NumberFamily

Numbers = Iterator[tuple[LabelValues, float]]
Rows = Iterator[tuple[LabelValues, Histogram, Exemplars | None]]


def _outcomes(subjects: Subjects) -> Iterator[tuple[LabelValues, float]]:
    for command in subjects.commands:
        # A copy, because a scrape gives way between two rows, and the first request of an outcome may end meanwhile.
        for outcome, count in tuple(command.outcomes.items()):
            yield (command.name, outcome), count


def _of_each(number: Callable[[CommandReading], float]) -> Callable[[Subjects], Numbers]:
    return lambda subjects: (((command.name,), number(command)) for command in subjects.commands)


def _of_each_listed(number: Callable[[CommandReading], float]) -> Callable[[Subjects], Numbers]:
    """One number of each command alone: added up over the others, it would count workers twice."""
    return lambda subjects: (
        ((command.name,), number(command)) for command in subjects.commands if not command.is_other
    )


def _histograms(histogram: Callable[[CommandReading], Histogram]) -> Callable[[Subjects], Rows]:
    """One histogram of each command that has ended a request: a command that was only announced costs no text."""
    return lambda subjects: (
        ((command.name,), histogram(command), None) for command in subjects.commands if command.outcomes
    )


def _durations(subjects: Subjects) -> Rows:
    for command in subjects.commands:
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
        _of_each(lambda command: command.queued_count),
    ),
    NumberFamily(
        "taskferry_queue_overloaded",
        "gauge",
        ("command",),
        "1 while requests come faster than they are done.",
        _of_each(lambda command: command.is_overloaded),
    ),
    NumberFamily(
        "taskferry_command_workers",
        "gauge",
        ("command",),
        "Connected workers that serve it and do not drain.",
        _of_each_listed(lambda command: command.workers_count),
    ),
    NumberFamily(
        "taskferry_command_slots",
        "gauge",
        ("command",),
        "Slots of these workers, free or not.",
        _of_each_listed(lambda command: command.slots_count),
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
        "Waiting time of requests that waited for a slot.",
        _histograms(lambda command: command.queue_wait),
    ),
    HistogramFamily(
        "taskferry_worker_duration_seconds",
        ("command",),
        "From sending the assignment that was answered to its response, network included.",
        _histograms(lambda command: command.worker_duration),
    ),
    HistogramFamily(
        "taskferry_broker_duration_seconds",
        ("command",),
        "Time in the broker itself, without waiting, of requests that a worker answered.",
        _histograms(lambda command: command.broker_duration),
    ),
)
