"""What idle connections cost: memory, the rate at which they are accepted, heartbeats."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal

from ..broker_process import BrokerProcess
from ..file_limit import files_count_max
from ..formats import number
from ..load import Load
from ..measurement import Clocks, opened
from ..payload import SIZE_BYTES_MIN, json_data
from ..request_stream import RequestStream
from ..results import SectionResults
from ..running import run_beside
from ..taskferry_peers import TaskferryRequester, TaskferryWorker
from ..websocket_connection import WebSocketConnection
from .section import Report, Round, Section, Table

COUNTS: Final = (1_000, 10_000)
QUICK_COUNTS: Final = (5, 10)
# Longer than the 15 s after which a silent requester is pinged, and four times a worker's 4 s.
HOLD_S: Final = 18.0
# Far more than what a process has open beside the connections.
OTHER_FILES_COUNT: Final = 200
# One round holds connections for HOLD_S twice and opens 20,000; memory hardly differs between rounds.
ROUNDS_COUNT_MAX: Final = 3
Port = Literal["workers", "requesters"]
_LOAD: Final = Load(
    json_data(SIZE_BYTES_MIN, "records"), in_flight_count_per_requester=0, worker_concurrency=1
)


class CountingStream(RequestStream):
    """Counts failed connections; there are no requests."""

    __slots__ = ("failed_count",)

    def __init__(self) -> None:
        super().__init__()
        self.failed_count = 0

    def fail(self, reason: str) -> None:
        super().fail(reason)
        self.failed_count += 1


def _measure(a_round: Round, report: Report) -> None:
    counts = _counts(a_round)
    ports: tuple[Port, ...] = ("workers", "requesters")
    for port in ports:
        hold_s = HOLD_S * a_round.extent.seconds_share
        cases = run_beside(a_round.taskferry, a_round.cores, partial(_idle, port, counts, hold_s))
        for count, shown in cases.items():
            report({"port": port, "connections": count}, shown)
        a_round.note(
            f"{counts[-1]} {port}: {cases[counts[-1]]['connection_kib']:.2f} KiB each, "
            f"{cases[counts[-1]]['idle_cpu_percent']:.2f} % CPU, {cases[counts[-1]]['dropped_count']:.0f} dropped"
        )


def _counts(a_round: Round) -> list[int]:
    wanted = COUNTS if COUNTS[-1] <= a_round.extent.count_max else QUICK_COUNTS
    possible = files_count_max() - OTHER_FILES_COUNT
    if wanted[-1] > possible:
        a_round.note(f"the system limits a process to {possible} connections: {wanted[-1]} are not measured")
    return [count for count in wanted if count <= possible] or [possible]


async def _idle(
    port: Port, counts: Sequence[int], hold_s: float, broker: BrokerProcess
) -> dict[int, dict[str, float]]:
    """Figures by count; the last count is the one that is held."""
    cases: dict[int, dict[str, float]] = {}
    stream = CountingStream()
    everybody = [_peer(port, stream, index) for index in range(counts[-1])]
    address = broker.addresses.workers if port == "workers" else broker.addresses.requesters
    rss_bytes = broker.rss_bytes()
    before = Clocks.of(broker)
    async with opened(everybody[: counts[0]], address):
        cases[counts[0]] = _opened_figures(counts[0], broker, before, rss_bytes)
        async with opened(everybody[counts[0] :], address):
            whole = _opened_figures(counts[-1], broker, before, rss_bytes)
            held_from = Clocks.of(broker)
            await asyncio.sleep(hold_s)
            held = Clocks.of(broker).since(held_from)
            cases[counts[-1]] = whole | {
                "connection_kib": (broker.rss_bytes() - rss_bytes) / counts[-1] / 1024,
                "held_s": held.wall_s,
                "idle_cpu_percent": held.broker_s / held.wall_s * 100,
                "pings_count": float(sum(peer.pings_count for peer in everybody)),
                "dropped_count": float(stream.failed_count),
            }
    return cases


def _peer(port: Port, stream: RequestStream, index: int) -> WebSocketConnection:
    if port == "workers":
        return TaskferryWorker(_LOAD, stream, f"w{index}")
    return TaskferryRequester(_LOAD, stream)


def _opened_figures(count: int, broker: BrokerProcess, before: Clocks, rss_bytes: int) -> dict[str, float]:
    passed = Clocks.of(broker).since(before)
    return {
        "connection_kib": (broker.rss_bytes() - rss_bytes) / count / 1024,
        "accepted_per_s": count / passed.wall_s,
        "accept_cpu_us": passed.broker_s / count * 1e6,
    }


_FIGURES: Final = {
    "connection_kib": "KiB per connection",
    "accepted_per_s": "accepted/s",
    "accept_cpu_us": "CPU us per connection",
    "held_s": "held s",
    "pings_count": "pings",
    "dropped_count": "dropped",
    "idle_cpu_percent": "idle CPU %",
}


def _tables(results: SectionResults) -> list[Table]:
    rows = [
        (
            str(row.case["port"]),
            f"{row.case['connections']:,}",
            *(number(row.median(figure)) if figure in row.figures else "" for figure in _FIGURES),
        )
        for row in results.rows
    ]
    return [Table("Idle connections", ("port", "connections", *_FIGURES.values()), rows)]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """Memory and accept rate by port and count."""
    labels = [f"{row.case['connections']:,}\n{row.case['port']}" for row in results.rows]
    for place, figure in zip(axes, ("connection_kib", "accepted_per_s"), strict=True):
        place.bar(labels, [row.median(figure) for row in results.rows])
        place.set_ylabel(_FIGURES[figure])


SECTION: Final = Section(
    name="idle",
    title="What idle connections cost",
    meaning=(
        "Connections from one process to one port of a fresh broker, with at most 64 concurrent handshakes; "
        "workers have sent what they serve. The rate is that of both ends together, the CPU time the broker's alone. "
        "The larger number is then held, with default heartbeats: its memory is how much the broker has grown by the "
        "end."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    plots_count=2,
    rounds_count_max=ROUNDS_COUNT_MAX,
)
