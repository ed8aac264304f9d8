"""Taskferry compared with its peers: `python -m benchmarks.peers --help`, from the checkout.

In each round every peer has its turn, so that whatever else the machine does affects all of them.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar, get_args

from ..broker_process import BrokerFailed, stop_brokers_on_signals
from ..cores import split_cores
from ..load import REQUEST_COUNT, WARM_UP_COUNT, Load, Mode
from ..machine import about as machine
from ..measurement import Measurement, measure
from ..payload import SMALLEST
from ..results import Results, from_text, to_text
from ..sections.section import FULL, QUICK
from ..shown import as_text
from ..targets import TARGETS
from . import end_to_end_section, lean_section
from .end_to_end.closed_loop import Figures, Plan
from .end_to_end.contenders import END_TO_END, EndToEnd
from .end_to_end.measurement import measure_end_to_end
from .lean import LEAN_PEERS, LeanPeer
from .subject import Subject
from .taking_part import section_results

PLAN = Plan(warm_up_s=1.0, serial_s=2.0, saturated_s=3.0, in_flight_count=64)
QUICK_PLAN = Plan(warm_up_s=0.3, serial_s=0.5, saturated_s=0.7, in_flight_count=64)
QUICK_COUNTS = (4_000, 1_000)

Peer = TypeVar("Peer", LeanPeer, EndToEnd)

NAMES = tuple(dict.fromkeys(peer.name for peer in (*LEAN_PEERS, *END_TO_END)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 with tables, 1 if an installed peer failed, 130 after Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    stop_brokers_on_signals()
    plan = QUICK_PLAN if options.quick else PLAN
    counts = QUICK_COUNTS if options.quick else (REQUEST_COUNT, WARM_UP_COUNT)
    loads = [Load(SMALLEST, mode, *counts) for mode in get_args(Mode)]
    lean = [_lean(peer, load) for peer in _wanted(LEAN_PEERS, options.only) for load in loads]
    end_to_end = [_end_to_end(peer, plan) for peer in _wanted(END_TO_END, options.only)]
    subjects: list[Subject[Measurement] | Subject[Figures]] = [*lean, *end_to_end]
    try:
        about = machine() | {"extent": (QUICK if options.quick else FULL).name}
        _note(f"{about['processor']}, {about['core_count']} cores, {about['broker']}")
        _run(subjects, options.rounds)
        load = {"data_bytes": len(loads[0].data), "request_count": loads[0].request_count}
        measured = {
            lean_section.PRESENTATION.name: section_results(lean, about | load),
            end_to_end_section.PRESENTATION.name: section_results(end_to_end, about | asdict(plan)),
        }
        found: Results = {name: section for name, section in measured.items() if section is not None}
        written = to_text(found)
        results = from_text(written.encode())  # what is shown has the digits of what is written
        print(as_text(results, results, [one for one in TARGETS if one.reading.section in results]))
        if options.json is not None:
            options.json.write_text(written, encoding="utf-8")
    except (BrokerFailed, OSError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if any(subject.broken for subject in subjects) else 0


def _wanted(peers: Sequence[Peer], only: Collection[str]) -> list[Peer]:
    """Taskferry is always included: every ratio is to it."""
    asked_for = [peer for peer in peers if not only or peer.name in only]
    return [peer for peer in peers if peer in asked_for or (asked_for and peer.name == "taskferry")]


def _lean(peer: LeanPeer, load: Load) -> Subject[Measurement]:
    return Subject(
        peer.name,
        {"broker": peer.name, "mode": load.mode},
        ask_versions=lambda: {"server": peer.make_server().version()},
        measure=lambda: measure(peer.contender(), load, split_cores()),
        summarise=lambda one: (
            f"{one.broker_cpu_us:.2f} us CPU per request, {one.other_cores:.2f} other cores busy"
        ),
    )


def _end_to_end(peer: EndToEnd, plan: Plan) -> Subject[Figures]:
    return Subject(
        peer.name,
        {"peer": peer.name},
        ask_versions=peer.versions,
        measure=lambda: measure_end_to_end(peer, plan),
        summarise=lambda one: (
            f"round trip p50 {one.round_trip_p50_ms:.3f} ms, {one.requests_per_s:,.0f} requests/s"
        ),
    )


def _run(subjects: Sequence[Subject[Measurement] | Subject[Figures]], round_count: int) -> None:
    if split_cores().broker is None:
        _note("no two cores to pin to: broker and load share one, so only compare figures of this run")
    for round_index in range(round_count):
        # In reverse order every other round, so that none always runs after the same one.
        for subject in subjects if round_index % 2 == 0 else subjects[::-1]:
            line = subject.run_round()
            if line is not None:
                _note(f"round {round_index + 1}/{round_count}  {subject.label}: {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Measures Taskferry and its peers: what a request costs each broker with a lean client, and "
        "what a Python user gets end to end. Peers that are not installed are left out: make bench-peers.",
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds, their median counts (default 5)")
    parser.add_argument(
        "--only",
        type=_names,
        default=frozenset(),
        metavar="NAME,...",
        help=f"measure Taskferry and these: {', '.join(NAMES)} (default all)",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests, a quarter of the time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round to FILE")
    return parser


def _names(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    unknown = sorted(names - set(NAMES))
    if unknown:
        raise argparse.ArgumentTypeError(f"no peer is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
