"""Every target as data, with the figure that it applies to. A missed target is reported, but does not fail the run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from .contenders import TASKFERRY
from .formats import number
from .results import Case, Results
from .sections import events, gather, jobs, streams
from .sections.section import Table


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of one case: its median over the rounds."""

    section: str
    figure: str
    case: Case = field(default_factory=dict)

    def value(self, results: Results) -> float | None:
        """None if it was not measured."""
        section = results.get(self.section)
        return None if section is None else section.median(self.figure, **self.case)


@dataclass(frozen=True, slots=True)
class Target:
    """`reading`, as a multiple of `base` if there is one, must be at most or at least `bound`."""

    text: str
    reading: Reading
    side: Literal["at most", "at least"]
    bound: float
    unit: str = "x"
    base: Reading | None = None

    def measured(self, results: Results) -> float | None:
        """What the bound is compared with; None if it was not measured."""
        value = self.reading.value(results)
        if self.base is None or value is None:
            return value
        base = self.base.value(results)
        return value / base if base else None

    def is_met(self, measured: float) -> bool:
        """Whether the bound is kept; a value equal to the bound keeps it."""
        return measured <= self.bound if self.side == "at most" else measured >= self.bound


def _cpu(load: str, broker: str = TASKFERRY) -> Reading:
    return Reading("cost", "broker_cpu_us", {"load": load, "broker": broker})


def _beside_nats(text: str, load: str, bound: float) -> Target:
    return Target(
        f"{text}, CPU beside nats-server's", _cpu(load), "at most", bound, base=_cpu(load, "nats-server")
    )


def _scale(axis: str, count: int) -> Reading:
    return Reading("scale", "broker_cpu_us", {"axis": axis, "count": count, "broker": TASKFERRY})


def _p99_beside(text: str, beside: str, bound: float) -> Target:
    case = {"beside": beside, "broker": TASKFERRY}
    alone = Reading("latency", "alone_p99_ms", case)
    return Target(text, Reading("latency", "beside_p99_ms", case), "at most", bound, base=alone)


def _idle(figure: str, port: str) -> Reading:
    return Reading("idle", figure, {"port": port, "connections": 10_000})


def _jobs(figure: str, name: str) -> Reading:
    return Reading("jobs", figure, {"jobs": name})


def _beside_jobs(per_s: int, phase: str, where: str) -> Target:
    flood = jobs.flood_name(per_s)
    case = {"beside": flood}
    text = f"{flood}: p99 of live requests beside {where}"
    base = Reading("jobs", f"{phase}_p99_ms", case)
    return Target(text, Reading("jobs", "beside_p99_ms", case), "at most", 1.5, base=base)


def _event(figure: str, subscriber_count: int) -> Reading:
    return Reading("events", figure, {"subscribers": subscriber_count, "broker": TASKFERRY})


def _chunks(stream: str, way: str = TASKFERRY) -> Reading:
    return Reading("streams", "chunks_per_s", {"stream": stream, "way": way})


def _start(program: str) -> Reading:
    return Reading("start-up", "wall_ms", {"program": program})


def _end_to_end(figure: str, peer: str = TASKFERRY) -> Reading:
    return Reading("peers-end-to-end", figure, {"peer": peer})


TARGETS: Final = (
    _beside_nats("Small JSON, one send per message", "saturated-each", 1.0),
    _beside_nats("Small JSON, sends joined", "saturated-joined", 1.25),
    _beside_nats("16 KiB of JSON records", "16k-records", 1.0),
    _beside_nats("16 KiB of JSON text", "16k-text", 1.0),
    _beside_nats("256 KiB of JSON records", "256k-records", 1.0),
    _beside_nats("256 KiB of JSON text", "256k-text", 1.0),
    Target(
        "MessagePack, one send per message, CPU beside JSON's",
        _cpu("msgpack-each"),
        "at most",
        1.0,
        base=_cpu("saturated-each"),
    ),
    Target(
        "MessagePack, sends joined, CPU beside JSON's",
        _cpu("msgpack-joined"),
        "at most",
        1.0,
        base=_cpu("saturated-joined"),
    ),
    Target(
        "1,000 workers, CPU beside that with 4",
        _scale("workers", 1_000),
        "at most",
        1.15,
        base=_scale("workers", 4),
    ),
    *(
        Target(
            f"100,000 waiting requests, {text}, client writes {mode}: rate beside the unqueued rate",
            Reading("queue", figure, {"mode": mode, "depth": 100_000}),
            "at least",
            0.8,
            base=Reading("queue", "held_requests_per_s", {"mode": mode, "depth": 0}),
        )
        for text, figure in (("drained", "drain_requests_per_s"), ("held", "held_requests_per_s"))
        for mode in ("each", "joined")
    ),
    _p99_beside(
        "One worker swamped, another idle: p99 of small requests beside alone", "one worker swamped", 3.0
    ),
    _p99_beside("1 MiB of records in flight: p99 of small requests beside alone", "1 MiB of records", 2.0),
    _p99_beside("1 MiB of text in flight: p99 of small requests beside alone", "1 MiB of text", 2.0),
    Target(
        "Durable submissions, 8 connections",
        _jobs("requests_per_s", jobs.SUBMISSIONS),
        "at least",
        15_000.0,
        "/s",
    ),
    Target(
        "Jobs from submission to result, 4 worker processes",
        _jobs("requests_per_s", jobs.JOBS),
        "at least",
        8_000.0,
        "/s",
    ),
    Target("Receipt p50 at 1,000 submissions a second", _jobs("p50_ms", jobs.RECEIPTS), "at most", 3.0, "ms"),
    *(
        _beside_jobs(per_s, phase, where)
        for per_s in jobs.FLOODS_PER_S
        for phase, where in (("elsewhere", "that with the same flood at another broker"), ("alone", "alone"))
    ),
    Target(
        "One event to 1,000 subscribers: p99 until the last has it",
        _event("p99_ms", 1_000),
        "at most",
        20.0,
        "ms",
    ),
    *(
        Target(
            f"Events delivered to {count:,} subscribers, by one core",
            _event("delivered_per_s", count),
            "at least",
            100_000.0,
            "/s",
        )
        for count in events.COUNTS
    ),
    *(
        Target(
            f"{text} of 64 KiB chunks: rate beside a bare link's in two hops",
            _chunks(name),
            "at least",
            0.5,
            base=_chunks(name, streams.TWO_HOPS),
        )
        for text, name in (("One stream", "64k-text"), ("Eight streams", "64k-text-8"))
    ),
    Target(
        "Gather over 1,000 workers: p99",
        Reading("gather", "p99_ms", {"workers": 1_000, "way": gather.AT_ONCE}),
        "at most",
        150.0,
        "ms",
    ),
    *(
        target
        for port in ("workers", "requesters")
        for target in (
            Target(
                f"Memory of an idle connection, {port}", _idle("connection_kib", port), "at most", 8.0, "KiB"
            ),
            Target(f"10,000 idle {port} held: dropped", _idle("dropped_count", port), "at most", 0.0, ""),
            Target(f"10,000 idle {port} held: CPU", _idle("idle_cpu_percent", port), "at most", 3.0, "%"),
        )
    ),
    Target("Start of taskferry --help", _start("taskferry --help"), "at most", 150.0, "ms"),
    Target("Start of the broker", _start("taskferry broker, until ready"), "at most", 500.0, "ms"),
    Target(
        "End to end, round trip p50 beside nats-py's",
        _end_to_end("round_trip_p50_ms"),
        "at most",
        0.5,
        base=_end_to_end("round_trip_p50_ms", "nats-py"),
    ),
    *(
        Target(
            f"End to end, requests/s beside {peer}'s",
            _end_to_end("requests_per_s"),
            "at least",
            bound,
            base=_end_to_end("requests_per_s", peer),
        )
        for peer, bound in (
            ("nats-py", 1.3),
            ("celery", 10.0),
            ("taskiq", 10.0),
            ("arq", 10.0),
            ("dramatiq", 10.0),
        )
    ),
    Target(
        "End to end, requests/s blocking from 16 threads beside async",
        _end_to_end("requests_per_s", "taskferry-blocking"),
        "at least",
        0.5,
        base=_end_to_end("requests_per_s"),
    ),
)


def targets_table(results: Results, targets: Sequence[Target] = TARGETS) -> Table:
    """The targets in order: the bound of each, what was measured, and whether that meets it."""
    rows = []
    for target in targets:
        measured = target.measured(results)
        verdict = "not measured" if measured is None else "met" if target.is_met(measured) else "**not met**"
        bound = f"{target.side} {target.bound:g} {target.unit}".rstrip()
        shown = "" if measured is None else f"{number(measured)} {target.unit}".rstrip()
        rows.append((target.text, bound, shown, verdict))
    return Table("", ("target", "bound", "measured", "verdict"), rows, text_columns=1)
