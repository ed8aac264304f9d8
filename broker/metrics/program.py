"""Families about the broker as a program: its ports, its event loop, its process."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from ...transport.counts import LinkCounts
from ..read_model import Subjects
from .family import Family, HistogramFamily, LabelValues, NumberFamily, total


def _of_each_port(
    count: Callable[[LinkCounts], int],
) -> Callable[[Subjects], list[tuple[LabelValues, float]]]:
    return lambda subjects: [((port.name,), count(port.counts)) for port in subjects.model.ports()]


def _refusals(subjects: Subjects) -> list[tuple[LabelValues, float]]:
    return [
        ((port.name, reason.value), count)
        for port in subjects.model.ports()
        for reason, count in port.counts.handshakes_refused.items()
    ]


PROGRAM: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_broker_info",
        "info",
        ("version",),
        "The broker's version.",
        lambda subjects: [((subjects.model.version,), 1)],
    ),
    NumberFamily(
        "taskferry_jobs_unavailable",
        "gauge",
        (),
        "1 if the broker was to keep jobs, and could not open its journal when it started.",
        lambda subjects: total(int(subjects.model.jobs_error is not None)),
    ),
    NumberFamily(
        "taskferry_connections",
        "gauge",
        ("port",),
        "Open connections.",
        lambda subjects: [((port.name,), port.open_count) for port in subjects.model.ports()],
    ),
    NumberFamily(
        "taskferry_handshakes_refused_total",
        "counter",
        ("port", "reason"),
        "WebSocket handshakes refused or dropped, by reason.",
        _refusals,
    ),
    NumberFamily(
        "taskferry_http_connections",
        "gauge",
        (),
        "Open connections of the HTTP port.",
        lambda subjects: total(subjects.model.http_counts.connections_count),
    ),
    NumberFamily(
        "taskferry_http_refused_total",
        "counter",
        ("reason",),
        "Connections of the HTTP port refused or dropped, by reason.",
        lambda subjects: [
            ((reason.value,), count) for reason, count in subjects.model.http_counts.refused.items()
        ],
    ),
    NumberFamily(
        "taskferry_heartbeats_missed_total",
        "counter",
        (),
        "Pings that a worker or requester had not answered within a second.",
        lambda subjects: total(sum(port.counts.heartbeats_missed_count for port in subjects.model.ports())),
    ),
    NumberFamily(
        "taskferry_received_messages_total",
        "counter",
        ("port",),
        "Whole messages from workers or requesters.",
        _of_each_port(lambda counts: counts.received_count),
    ),
    NumberFamily(
        "taskferry_sent_messages_total",
        "counter",
        ("port",),
        "Messages passed to the operating system for them.",
        _of_each_port(lambda counts: counts.sent_count),
    ),
    NumberFamily(
        "taskferry_received_bytes_total",
        "counter",
        ("port",),
        "Bytes read from connections, frame headers and handshakes included.",
        _of_each_port(lambda counts: counts.received_bytes_count),
    ),
    NumberFamily(
        "taskferry_sent_bytes_total",
        "counter",
        ("port",),
        "Bytes passed to the operating system, frame headers and handshakes included.",
        _of_each_port(lambda counts: counts.sent_bytes_count),
    ),
    NumberFamily(
        "taskferry_unsent_size_bytes",
        "gauge",
        (),
        "What waits in the broker for workers and requesters that do not read it.",
        lambda subjects: total(subjects.model.unsent_size_bytes),
    ),
    HistogramFamily(
        "taskferry_event_loop_lag_seconds",
        (),
        "How late the event loop came to a timer, ten times a second.",
        lambda subjects: [((), subjects.model.loop_lag, None)],
    ),
    NumberFamily(
        "taskferry_log_lines_dropped_total",
        "counter",
        (),
        "Lines of the log that were dropped, because standard error did not take them in time.",
        lambda subjects: total(subjects.model.log_dropped_count),
    ),
)


def process_registry() -> CollectorRegistry:
    """CPU, memory and open files of this process (on Linux), its garbage collector, its Python."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, GCCollector, PlatformCollector):
        collector(registry=registry)
    return registry
