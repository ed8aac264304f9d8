"""Families as text, in the two formats that Prometheus reads, piece by piece.

`prometheus_client` is the authority on both formats (tests compare with what it writes, and its parsers read this), but
it takes eight times as long, and all at once. Sources: Prometheus' text format 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/) and OpenMetrics 1.0
(https://prometheus.io/docs/specs/om/open_metrics_spec/).
"""

import re
import time
from collections.abc import Iterator
from typing import Final

from prometheus_client.utils import floatToGoString

from ..core.measures.exemplars import Exemplar, Exemplars
from ..core.measures.histogram import DURATION_BOUNDS_S, Histogram
from ..read_model import Subjects
from .family import Family, HistogramFamily, LabelValues, NumberFamily

END: Final = "# EOF\n"
"""The last line of an OpenMetrics text."""

ROWS_COUNT_MAX: Final = 100
"""Rows of one piece of text: some tens of microseconds."""

EXEMPLAR_LENGTH_MAX: Final = 128
"""Characters of an exemplar's labels, names and values, in OpenMetrics 1.0."""

_BOUNDS: Final = (*map(str, DURATION_BOUNDS_S), "+Inf")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""The trace id in a traceparent. Source: W3C Trace Context."""


def text_of(family: Family, subjects: Subjects, *, is_openmetrics: bool) -> Iterator[str]:
    """The whole family, in pieces of some rows each."""
    yield _head(family, is_openmetrics=is_openmetrics)
    if isinstance(family, NumberFamily):
        yield from _numbers(family, subjects)
        return
    began_at = time.time() - time.monotonic()
    for values, histogram, exemplars in family.read(subjects):
        yield _histogram(family, values, histogram, exemplars if is_openmetrics else None, began_at)


def _head(family: Family, *, is_openmetrics: bool) -> str:
    """The lines for help and type. OpenMetrics names the family there, the older format its samples."""
    name, type_ = family.name, family.type
    if is_openmetrics:
        name = name.removesuffix("_total").removesuffix("_info")
    elif type_ == "info":
        type_ = "gauge"
    return f"# HELP {name} {family.help}\n# TYPE {name} {type_}\n"


def _numbers(family: NumberFamily, subjects: Subjects) -> Iterator[str]:
    rows: list[str] = []
    labels = ",".join([f'{name}="%s"' for name in family.labels])
    form = f"{family.name}{{{labels}}} %s\n" if labels else f"{family.name} %s\n"
    for values, number in family.read(subjects):
        rows.append(form % (*map(_escape, values), _number(number)))
        if len(rows) == ROWS_COUNT_MAX:
            yield "".join(rows)
            rows.clear()
    yield "".join(rows)


def _histogram(
    family: HistogramFamily,
    values: LabelValues,
    histogram: Histogram,
    exemplars: Exemplars | None,
    began_at: float,
) -> str:
    """One row: the buckets, cumulated, their total and the sum. `began_at`: when the monotonic clock was zero."""
    labels = _labels(family.labels, values)
    separator = "," if labels else ""
    braces = f"{{{labels}}}" if labels else ""
    start = f'{family.name}_bucket{{{labels}{separator}le="'
    lines: list[str] = []
    total = 0
    for index, count in enumerate(histogram.counts):
        total += count
        example = None if exemplars is None else exemplars.kept[index]
        tail = "" if example is None else _exemplar(example, began_at)
        lines.append(f'{start}{_BOUNDS[index]}"}} {total}{tail}\n')
    lines.append(
        f"{family.name}_count{braces} {total}\n{family.name}_sum{braces} {_number(histogram.sum_s)}\n"
    )
    return "".join(lines)


def _exemplar(exemplar: Exemplar, began_at: float) -> str:
    """What follows a bucket's number; nothing if the ids are longer than the format allows."""
    labels = {"request_id": exemplar.request_id}
    trace = None if exemplar.trace is None else _TRACE_ID.match(exemplar.trace)
    if trace is not None:
        labels["trace_id"] = trace[1]
    while sum(len(name) + len(value) for name, value in labels.items()) > EXEMPLAR_LENGTH_MAX:
        del labels[next(iter(labels))]  # the trace id is the shorter one, and the one that tools follow
        if not labels:
            return ""
    text = _labels(tuple(labels), tuple(labels.values()))
    return f" # {{{text}}} {_number(exemplar.duration_s)} {began_at + exemplar.ended_at:.3f}"


def _labels(names: LabelValues, values: LabelValues) -> str:
    return ",".join([f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)])


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


def _number(number: float) -> str:
    return str(int(number)) if isinstance(number, int) else floatToGoString(number)  # type: ignore[no-untyped-call]  # the library's own is not annotated
