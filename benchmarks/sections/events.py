"""Events: how soon one event is with all its subscribers, and what its delivery costs, beside brokers of events."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final

from ..broker_process import BrokerFailed, BrokerProcess
from ..contenders import TASKFERRY
from ..event_stream import LOT_COUNT, EventStream
from ..file_limit import files_count_max
from ..formats import number, ratio, span
from ..load import Load
from ..measurement import STREAM_TIMEOUT_S, Clocks, no_collections, opened, percentile
from ..payload import SMALLEST
from ..peers.events import EVENT_PEERS, EventPeer, Publisher
from ..peers.servers import Missing
from ..request_stream import LoadFailed
from ..results import SectionResults
from ..running import run_beside
from .section import Extent, Report, Round, Section, Table

COUNTS: Final = (10, 1_000)
QUICK_COUNTS: Final = (2, 5)
# Far more than what the load has open beside the connections.
OTHER_FILES_COUNT: Final = 200
SINGLE_COUNT: Final = 100
# A broker that joins events for at most 0.1 s has then been quiet for longer, so it sends the next one at once.
QUIET_S: Final = 0.11
DELIVERY_COUNT: Final = 1_000_000
# One round takes a minute, most of it quiet; CPU per delivery hardly differs between rounds.
ROUNDS_COUNT_MAX: Final = 3
_LOAD: Final = Load(SMALLEST)

FIGURES: Final = {
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "single_cpu_us": "CPU us, one event",
    "broker_cpu_us": "CPU us, flood",
    "delivered_per_s": "delivered/s",
    "rss_mib": "RSS MiB",
}
"""What is shown of a measurement, and its heading."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """`single_count` events one by one, then `flood_count` as fast as they are delivered."""

    subscriber_count: int
    single_count: int
    flood_count: int
    quiet_s: float

    @classmethod
    def of(cls, subscriber_count: int, extent: Extent) -> "_Plan":
        """That of one case in a run of this extent."""
        return cls(
            subscriber_count,
            max(2, round(SINGLE_COUNT * extent.requests_share)),
            max(LOT_COUNT, round(DELIVERY_COUNT * extent.requests_share / subscriber_count)),
            QUIET_S * extent.seconds_share,
        )


async def _deliver(peer: EventPeer, plan: _Plan, broker: BrokerProcess) -> Mapping[str, float]:
    stream = EventStream(plan.subscriber_count)
    subscribers = [peer.make_subscriber(_LOAD, stream) for _ in range(plan.subscriber_count)]
    publisher = peer.make_publisher(_LOAD, stream)
    address = broker.addresses.requesters
    async with opened(subscribers, address), opened([publisher], address):
        await _publish(publisher, stream, max(LOT_COUNT, plan.flood_count // 10))  # warm-up
        with no_collections():
            before = Clocks.of(broker)
            latencies_s = [
                await _latency_s(publisher, stream, plan.quiet_s) for _ in range(plan.single_count)
            ]
            singles = Clocks.of(broker).since(before)
            before = Clocks.of(broker)
            await _publish(publisher, stream, plan.flood_count)
            flood = Clocks.of(broker).since(before)
        latencies_s.sort()
        return {
            "p50_ms": percentile(latencies_s, 0.50) * 1e3,
            "p99_ms": percentile(latencies_s, 0.99) * 1e3,
            "single_cpu_us": singles.broker_s / plan.single_count / plan.subscriber_count * 1e6,
            "delivered_per_s": plan.flood_count * plan.subscriber_count / flood.wall_s,
            "broker_cpu_us": flood.broker_s / plan.flood_count / plan.subscriber_count * 1e6,
            "load_cpu_us": flood.load_s / plan.flood_count / plan.subscriber_count * 1e6,
            "rss_mib": broker.rss_bytes() / 2**20,
            "other_cores": flood.other_cores,
        }


async def _publish(publisher: Publisher, stream: EventStream, event_count: int) -> None:
    stream.publish(event_count, publisher.publish)
    await stream.until_ended(STREAM_TIMEOUT_S)


async def _latency_s(publisher: Publisher, stream: EventStream, quiet_s: float) -> float:
    """From the publication of one event, after a quiet time, to its arrival at the last subscriber."""
    await asyncio.sleep(quiet_s)
    published_at = perf_counter()
    await _publish(publisher, stream, 1)
    return stream.ended_at - published_at


def _measure(a_round: Round, report: Report) -> None:
    for count in _counts(a_round):
        plan = _Plan.of(count, a_round.extent)
        for peer in EVENT_PEERS if a_round.index % 2 == 0 else EVENT_PEERS[::-1]:
            try:
                program = peer.make_program(a_round.taskferry)
                shown = run_beside(program, a_round.cores, partial(_deliver, peer, plan))
            except Missing as missing:
                a_round.note(f"left out: {missing}")
                continue
            except (BrokerFailed, LoadFailed) as failure:
                if peer.name == TASKFERRY:
                    raise
                a_round.note(f"{peer.name} FAILED: {failure}")
                continue
            report({"subscribers": count, "broker": peer.name}, shown)
            a_round.note(
                f"{count:,} subscribers  {peer.name}: p99 {shown['p99_ms']:.2f} ms, "
                f"{shown['single_cpu_us']:.2f} us CPU per delivery of one event; in a flood "
                f"{shown['broker_cpu_us']:.2f} us (load {shown['load_cpu_us']:.2f} us), "
                f"{shown['delivered_per_s']:,.0f}/s, {shown['other_cores']:.2f} other cores busy"
            )


def _counts(a_round: Round) -> list[int]:
    wanted = COUNTS if COUNTS[-1] <= a_round.extent.count_max else QUICK_COUNTS
    possible = files_count_max() - OTHER_FILES_COUNT
    if wanted[-1] > possible:
        a_round.note(f"the system limits a process to {possible} connections: {wanted[-1]} are not measured")
    return [count for count in wanted if count <= possible]


def _tables(results: SectionResults) -> list[Table]:
    counts = results.cases("subscribers")
    return [
        *(_ratios(results, count) for count in counts),
        *(_absolute(results, count) for count in counts),
    ]


def _ratios(results: SectionResults, count: str | int) -> Table:
    own = {figure: results.median(figure, subscribers=count, broker=TASKFERRY) for figure in FIGURES}
    rows = [
        (str(row.case["broker"]), *(ratio(own[figure], row.median(figure)) for figure in FIGURES))
        for row in results.rows
        if row.case["subscribers"] == count and row.case["broker"] != TASKFERRY
    ]
    caption = f"Taskferry's figures as multiples of each broker's, {count:,} subscribers"
    return Table(caption, ("broker", *FIGURES.values()), rows)


def _absolute(results: SectionResults, count: str | int) -> Table:
    rows = [
        (
            str(row.case["broker"]),
            *(number(row.median(figure)) for figure in FIGURES),
            span(row.figures["delivered_per_s"]),
            *(number(row.median(figure)) for figure in ("load_cpu_us", "other_cores")),
        )
        for row in results.rows
        if row.case["subscribers"] == count
    ]
    headings = ("broker", *FIGURES.values(), "(min..max)", "load CPU us", "other cores")
    return Table(f"{count:,} subscribers", headings, rows)


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """Bars of CPU time per delivery, of one event and in a flood."""
    names = [f"{row.case['broker']}, {row.case['subscribers']:,}" for row in results.rows]
    for place, figure in zip(axes, ("single_cpu_us", "broker_cpu_us"), strict=True):
        place.barh(names, [row.median(figure) for row in results.rows])
        place.invert_yaxis()
        place.set_xlabel(FIGURES[figure])


SECTION: Final = Section(
    name="events",
    title="What is published, to many",
    meaning=(
        "One publisher and its subscribers, each on a connection of its own, all of one topic (NATS: subject, Redis: "
        f"channel); an event carries {len(SMALLEST)} bytes of data. First {SINGLE_COUNT} events one by one, each after "
        f"{QUIET_S:g} s in which nothing was sent: p50 and p99 are from its publication until the last subscriber has "
        "it. Then a flood, as fast as it is delivered, with up to 100 events on their way. CPU us is the broker's per "
        "event and subscriber. A Taskferry broker sends a subscriber up to 10 events in one message, with an id, a "
        "time and an offset each, and keeps the last 1,000 for those that come back; NATS and Redis keep nothing."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    plots_count=2,
    rounds_count_max=ROUNDS_COUNT_MAX,
)
