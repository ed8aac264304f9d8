"""The broker's numbers as Prometheus sees them: read when a scrape comes, so that requests pay for plain additions
only.

Names follow https://prometheus.io/docs/practices/naming/. Labels come from closed sets: outcomes from the error
registry, commands from those that workers have served, workers from those connected.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..core.histogram import DURATION_BOUNDS_S, Histogram
from ..core.worker import WorkerState

if TYPE_CHECKING:
    from ..broker import Broker


class BrokerCollector(Collector):
    """Reads one broker's state. `collect` runs in the broker's event loop, between two of its steps."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker

    def collect(self) -> Iterable[Metric]:
        """Every family, fresh."""
        yield InfoMetricFamily("taskferry_broker", "The broker's version.", {"version": self._broker.version})
        yield from self._requests()
        yield from self._commands()
        yield from self._workers()

    def _requests(self) -> Iterator[Metric]:
        core = self._broker.core
        yield GaugeMetricFamily(
            "taskferry_requests_in_flight", "Requests admitted and not ended.", core.in_flight_count
        )
        yield GaugeMetricFamily(
            "taskferry_queue_size_bytes", "Data of waiting requests.", core.queue.size_bytes
        )
        yield CounterMetricFamily("taskferry_requests_submitted", "Requests admitted.", core.submitted_count)
        refused = CounterMetricFamily("taskferry_requests_refused", "Requests not admitted.", labels=["code"])
        for code, count in core.refused.items():
            refused.add_metric([code], count)
        yield refused
        yield CounterMetricFamily(
            "taskferry_requests_unserved",
            "Requests for commands that no worker has ever served.",
            core.unserved_count,
        )
        yield CounterMetricFamily(
            "taskferry_retries", "Idempotent requests assigned anew after a lost worker.", core.retried_count
        )
        yield CounterMetricFamily(
            "taskferry_reassignments",
            "Requests assigned anew because they were never written to a lost worker.",
            core.reassigned_count,
        )
        yield CounterMetricFamily(
            "taskferry_late_responses", "Responses to requests that had ended.", core.late_responses_count
        )
        yield CounterMetricFamily(
            "taskferry_unknown_assignments",
            "Responses that named no assignment of their worker.",
            core.unknown_assignments_count,
        )
        yield CounterMetricFamily(
            "taskferry_hedges", "Second copies sent of requests that took long.", core.hedged_count
        )
        yield CounterMetricFamily(
            "taskferry_hedges_won", "Second copies that answered first.", core.hedges_won_count
        )
        yield CounterMetricFamily(
            "taskferry_requests_shed",
            "Requests refused because they had waited too long under overload.",
            core.queue.shed_count,
        )
        ejections = CounterMetricFamily("taskferry_ejections", "Workers ejected.", labels=["cause"])
        for cause, count in core.health.ejections.counts.items():
            ejections.add_metric([cause], count)
        yield ejections
        yield CounterMetricFamily(
            "taskferry_readmissions",
            "Workers trusted again after an ejection.",
            core.health.ejections.readmitted_count,
        )
        connections = GaugeMetricFamily("taskferry_connections", "Open connections.", labels=["port"])
        connections.add_metric(["worker"], len(self._broker.worker_sessions))
        connections.add_metric(["requester"], len(self._broker.requester_sessions))
        yield connections

    def _commands(self) -> Iterator[Metric]:
        ended = CounterMetricFamily("taskferry_requests", "Ended requests.", labels=["command", "outcome"])
        depth = GaugeMetricFamily("taskferry_queue_depth", "Requests waiting for a slot.", labels=["command"])
        duration = HistogramMetricFamily(
            "taskferry_request_duration_seconds", "From admission to outcome.", labels=["command"]
        )
        wait = HistogramMetricFamily(
            "taskferry_queue_wait_seconds", "Of requests that waited for a slot.", labels=["command"]
        )
        overloaded = GaugeMetricFamily(
            "taskferry_queue_overloaded",
            "1 while requests come faster than they are done.",
            labels=["command"],
        )
        for command in self._broker.core.roster.commands.values():
            labels = [command.name]
            overloaded.add_metric(labels, command.route.overload.is_overloaded)
            for outcome, count in command.outcomes.items():
                ended.add_metric([command.name, outcome], count)
            depth.add_metric(labels, command.waiting_count)
            if command.outcomes:  # a histogram takes long to write: none for what was only announced
                duration.add_metric(labels, *_buckets(command.duration))
                wait.add_metric(labels, *_buckets(command.queue_wait))
        yield from (ended, depth, overloaded, duration, wait)

    def _workers(self) -> Iterator[Metric]:
        workers = self._broker.core.roster.workers.values()
        states = GaugeMetricFamily("taskferry_workers", "Connected workers.", labels=["state"])
        for state in WorkerState:
            if state is WorkerState.GONE:
                continue
            states.add_metric([state.value], sum(worker.state is state for worker in workers))
        in_flight = GaugeMetricFamily("taskferry_worker_in_flight", "Slots taken.", labels=["worker"])
        slots = GaugeMetricFamily("taskferry_worker_slots", "Slots in all.", labels=["worker"])
        ended = CounterMetricFamily(
            "taskferry_assignments", "Assignments that a worker ended.", labels=["worker", "outcome"]
        )
        speed = GaugeMetricFamily(
            "taskferry_worker_speed", "Learned from durations: 1 is as fast as its peers.", labels=["worker"]
        )
        for worker in workers:
            speed.add_metric([worker.worker_id], worker.speed)
            in_flight.add_metric([worker.worker_id], worker.in_flight_count)
            slots.add_metric([worker.worker_id], worker.concurrency)
            ended.add_metric([worker.worker_id, "success"], worker.succeeded_count)
            ended.add_metric([worker.worker_id, "failure"], worker.failed_count)
        yield from (states, in_flight, slots, speed, ended)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Cumulative counts by upper bound, and the sum, as prometheus_client takes them."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, DURATION_BOUNDS_S), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets, histogram.sum_s
