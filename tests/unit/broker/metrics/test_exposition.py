"""Our text says what prometheus_client's says of the same numbers, in both formats."""

import re
import time

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from taskferry.broker.broker import Broker
from taskferry.broker.core.measures.exemplars import Exemplars
from taskferry.broker.core.measures.histogram import Histogram
from taskferry.broker.metrics.exposition import END, EXEMPLAR_LENGTH_MAX, text_of
from taskferry.broker.metrics.family import Family, HistogramFamily, NumberFamily
from taskferry.broker.read_model import Subjects
from taskferry.broker.settings import BrokerSettings

from tests.unit.broker.core.world import World
from tests.unit.broker.metrics.reference import parsed, registry_of

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
NASTY = ["plain", "", 'quo"te', "back\\slash", "new\nline", "\\n", "ümlaut ☃", 'a\\"b\n', "{},=#"]


@pytest.fixture
def subjects() -> Subjects:
    return Broker(BrokerSettings()).read_model.subjects()


def text(families: list[Family], subjects: Subjects, *, is_openmetrics: bool) -> str:
    pieces = [
        piece for family in families for piece in text_of(family, subjects, is_openmetrics=is_openmetrics)
    ]
    return "".join(pieces) + (END if is_openmetrics else "")


def histogram(*durations_s: float) -> Histogram:
    made = Histogram()
    for duration_s in durations_s:
        made.observe(duration_s)
    return made


def exemplars(request_id: str = "r1", trace: str | None = None, duration_s: float = 0.7) -> Exemplars:
    made = Exemplars(is_wanted=True)
    world = World()
    world.worker()
    world.requester().submit(request_id=request_id, trace=trace)
    (request,) = next(iter(world.core.requesters)).requests.values()
    made.keep(Histogram().observe(duration_s), request.call, duration_s, time.monotonic())
    return made


NUMBERS: list[float] = [0, 1, 12, 1_234_567, 2**40, 0.5, 1e-9, 1234567.25, float("inf"), True]
FAMILIES: list[Family] = [
    NumberFamily("a_info", "info", ("version",), "What it is.", lambda _: [(("1.0",), 1)]),
    NumberFamily("b_total", "counter", (), "Without labels.", lambda _: [((), 7)]),
    NumberFamily("c_rows_total", "counter", ("x",), "Empty.", lambda _: []),
    NumberFamily("d", "gauge", ("x", "y"), "Names.", lambda _: [((name, "z"), 1) for name in NASTY]),
    NumberFamily(
        "e", "gauge", ("x",), "Numbers.", lambda _: [((str(at),), n) for at, n in enumerate(NUMBERS)]
    ),
    NumberFamily("f", "gauge", ("x",), "Many.", lambda _: [((str(n),), n) for n in range(1000)]),
    HistogramFamily("g_seconds", (), "Without labels.", lambda _: [((), histogram(0.1, 99), None)]),
    HistogramFamily(
        "h_seconds",
        ("command",),
        "With examples.",
        lambda _: [
            ((name,), histogram(0.0001, 0.7, 0.7, 3.1), exemplars("r1", f"00-{TRACE_ID}-00f067aa0ba902b7-01"))
            for name in NASTY
        ],
    ),
]


@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_it_reads_as_the_clients_own_text(subjects: Subjects, is_openmetrics: bool) -> None:
    generate = generate_openmetrics if is_openmetrics else generate_latest
    theirs = generate(registry_of(FAMILIES, subjects)).decode()
    ours = text(FAMILIES, subjects, is_openmetrics=is_openmetrics)
    assert parsed(ours, is_openmetrics=is_openmetrics) == parsed(theirs, is_openmetrics=is_openmetrics)
    heads = re.compile(r"^#.*$", re.MULTILINE)
    assert heads.findall(ours) == heads.findall(theirs)


def test_an_example_is_written_as_the_client_writes_it(subjects: Subjects) -> None:
    # Its own parser cannot read a quoted quote there, so the texts are compared.
    row = lambda _: [((name,), histogram(0.7), exemplars(name)) for name in NASTY]  # noqa: E731
    family = HistogramFamily("h_seconds", ("command",), "H.", row)
    theirs = generate_openmetrics(registry_of([family], subjects)).decode()  # type: ignore[no-untyped-call]
    ours = text([family], subjects, is_openmetrics=True)
    tail = re.compile(r" (# \{.*\} 0\.7)(?: \d+\.\d{3})?$", re.MULTILINE)
    assert len(tail.findall(ours)) == len(NASTY)
    assert tail.findall(ours) == tail.findall(theirs)


def test_examples_stand_in_the_newer_format_alone(subjects: Subjects) -> None:
    row = lambda _: [(("c",), histogram(0.7), exemplars("r1"))]  # noqa: E731
    family = HistogramFamily("h_seconds", ("command",), "H.", row)
    assert "r1" not in text([family], subjects, is_openmetrics=False)
    (line,) = [line for line in text([family], subjects, is_openmetrics=True).splitlines() if "r1" in line]
    match = re.fullmatch(
        r'h_seconds_bucket\{command="c",le="1.0"\} 1 # \{request_id="r1"\} 0.7 (\d+\.\d{3})', line
    )
    assert match
    assert float(match[1]) == pytest.approx(time.time(), abs=5)


SPAN = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
WITH_TRACE_ID = len("request_id") + len("trace_id") + len(TRACE_ID)


@pytest.mark.parametrize(
    ("request_id", "trace", "names"),
    [
        ("r", None, {"request_id"}),
        ("r", SPAN, {"request_id", "trace_id"}),
        ("r", "not a traceparent", {"request_id"}),
        ("r" * (EXEMPLAR_LENGTH_MAX - 10), None, {"request_id"}),
        ("r" * (EXEMPLAR_LENGTH_MAX - 9), None, set()),
        ("r" * (EXEMPLAR_LENGTH_MAX - WITH_TRACE_ID), SPAN, {"request_id", "trace_id"}),
        ("r" * (EXEMPLAR_LENGTH_MAX - WITH_TRACE_ID + 1), SPAN, {"trace_id"}),
    ],
)
def test_an_example_names_as_many_ids_as_the_format_has_room_for(
    subjects: Subjects, request_id: str, trace: str | None, names: set[str]
) -> None:
    row = lambda _: [((), histogram(0.7), exemplars(request_id, trace))]  # noqa: E731
    read = parsed(
        text([HistogramFamily("h_seconds", (), "H.", row)], subjects, is_openmetrics=True),
        is_openmetrics=True,
    )
    ((_, _, _, samples),) = read
    found = [set(exemplar[0]) for *_, exemplar in samples if exemplar]
    assert found == ([names] if names else [])
