"""The same families as `prometheus_client` has them, and texts as its parsers read them: what ours is compared with."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ClientExemplar
from taskferry.broker.core.measures.exemplars import Exemplars
from taskferry.broker.core.measures.histogram import DURATION_BOUNDS_S
from taskferry.broker.metrics.family import Family, HistogramFamily
from taskferry.broker.read_model import Subjects


class Reference(Collector):
    """`families` as Metric objects."""

    def __init__(self, families: list[Family], subjects: Subjects) -> None:
        self._families = families
        self._subjects = subjects

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if isinstance(family, HistogramFamily):
                yield self._histogram(family)
                continue
            rows = list(family.read(self._subjects))
            if family.type == "info":
                ((values, _),) = rows
                labels = dict(zip(family.labels, values, strict=True))
                yield InfoMetricFamily(family.name.removesuffix("_info"), family.help, labels)
                continue
            make = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
            metric = make(family.name, family.help, labels=family.labels)
            for values, number in rows:
                metric.add_metric(list(values), number)
            yield metric

    def _histogram(self, family: HistogramFamily) -> Metric:
        metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for values, histogram, exemplars in family.read(self._subjects):
            total = 0
            buckets: list[Any] = []
            for index, bound in enumerate((*map(str, DURATION_BOUNDS_S), "+Inf")):
                total += histogram.counts[index]
                buckets.append([bound, total, _exemplar(exemplars, index)])
            metric.add_metric(list(values), buckets, histogram.sum_s)
        return metric


def _exemplar(exemplars: Exemplars | None, index: int) -> ClientExemplar | None:
    kept = None if exemplars is None else exemplars.kept[index]
    if kept is None:
        return None
    labels = {"request_id": kept.request_id}
    if kept.trace is not None:
        labels["trace_id"] = kept.trace.split("-")[1]
    return ClientExemplar(labels, kept.duration_s)


def registry_of(families: list[Family], subjects: Subjects) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Reference(families, subjects))
    return registry


def parsed(text: str, *, is_openmetrics: bool) -> list[Any]:
    """Families with their help, type and samples; of exemplars all but the time."""
    parse = openmetrics_families if is_openmetrics else text_families
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [
                (sample.name, sample.labels, sample.value, sample.exemplar and sample.exemplar[:2])
                for sample in family.samples
            ],
        )
        for family in parse(text)
    ]
