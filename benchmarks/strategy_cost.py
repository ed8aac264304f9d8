"""What a strategy costs the broker for each assignment: the pick, and the notices that it started and ended.

Run it from the checkout: `python -m benchmarks.strategy_cost --help`. It needs no broker and no sockets.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time_ns
from typing import Any, Final

from taskferry.loadbalance.registry import STRATEGIES
from taskferry.loadbalance.strategy import Candidate, Strategy

WORKERS_COUNTS: Final = (100, 1_000, 5_000)
ASSIGNMENTS_COUNT: Final = 20_000
ROUNDS_COUNT: Final = 5
WEIGHTS: Final = (1.0, 2.0, 5.0)
SPEEDS: Final = (0.5, 1.0, 2.0)
LATENCIES: Final = (0.5, 1.0, 1.5, 3.0)
KEYS: Final = tuple(f"key-{number}" for number in range(1_000))


class PlainCandidate(Candidate):
    """The plainest possible worker, so that only the strategy is measured."""

    __slots__ = ()

    def __init__(self, number: int) -> None:
        self.worker_id = f"worker-{number}"
        self.in_flight_count = 0
        self.weight = WEIGHTS[number % len(WEIGHTS)]
        self.speed = SPEEDS[number // 3 % len(SPEEDS)]
        self.latency = LATENCIES[number // 9 % len(LATENCIES)]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU nanoseconds for one assignment, the lowest of all rounds.

    `slots` is `free` if workers have slots to spare and stay in the strategy, and `full` if each assignment fills its
    worker, which is removed, and each end adds one back; half of the workers are out at any time then.
    """

    strategy: str
    slots: str
    workers_count: int
    assignment_ns: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    options = _parser().parse_args(arguments)
    costs = []
    try:
        for name in options.strategy or STRATEGIES:
            for slots, run in RUNS.items():
                for count in WORKERS_COUNTS:
                    nanoseconds = measure(name, run, count, options.assignments, options.rounds)
                    costs.append(Cost(name, slots, count, round(nanoseconds, 1)))
                _print_row(costs[-len(WORKERS_COUNTS) :], with_headings=len(costs) == len(WORKERS_COUNTS))
        if options.json is not None:
            options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")
    except OSError as error:
        print(f"strategy_cost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


Pick = Callable[[str | None], Any]
"""Never None here, and a check would be measured."""

Run = Callable[[Strategy[PlainCandidate], list[PlainCandidate], int], None]
"""Makes this many assignments and ends as many, those of the list first and in its order."""


def measure(name: str, run: Run, workers_count: int, assignments_count: int, rounds_count: int) -> float:
    """CPU nanoseconds for one assignment from pick to end, less the time of the loop around the calls."""
    strategy = STRATEGIES[name](random.Random(1).random)
    candidates = [PlainCandidate(number) for number in range(workers_count)]
    for candidate in candidates:
        strategy.add(candidate)
    busy: list[PlainCandidate] = []
    per_worker = 1.5 if run is run_free else 0.5
    for number in range(int(per_worker * workers_count)):
        candidate = picked(strategy, number)
        candidate.in_flight_count += 1
        if run is run_free:
            strategy.changed(candidate)
        else:
            strategy.remove(candidate)
        busy.append(candidate)
    random.Random(2).shuffle(busy)  # assignments end in another order than they started
    least = least_of_nothing = float("inf")
    for _ in range(rounds_count):
        began = process_time_ns()
        run(strategy, busy, assignments_count)
        least = min(least, process_time_ns() - began)
        began = process_time_ns()
        run_nothing(busy[:], assignments_count)
        least_of_nothing = min(least_of_nothing, process_time_ns() - began)
    return max(0.0, least - least_of_nothing) / assignments_count


def picked(strategy: Strategy[PlainCandidate], number: int) -> PlainCandidate:
    """The pick for request `number`, with one of a thousand affinity keys."""
    candidate = strategy.pick(KEYS[number % len(KEYS)])
    assert candidate is not None, "half of the workers or more are in the strategy"
    return candidate


def run_free(strategy: Strategy[PlainCandidate], busy: list[PlainCandidate], assignments_count: int) -> None:
    """Workers with slots to spare: the strategy is notified of a change twice per assignment."""
    pick: Pick = strategy.pick
    changed = strategy.changed
    busy_count = len(busy)
    for number in range(assignments_count):
        began = pick(KEYS[number % 1000])
        began.in_flight_count += 1
        changed(began)
        ended = busy[number % busy_count]
        busy[number % busy_count] = began
        ended.in_flight_count -= 1
        changed(ended)


def run_full(strategy: Strategy[PlainCandidate], busy: list[PlainCandidate], assignments_count: int) -> None:
    """Workers with one slot each: every assignment removes one, and every end adds one back."""
    pick: Pick = strategy.pick
    add, remove = strategy.add, strategy.remove
    busy_count = len(busy)
    for number in range(assignments_count):
        began = pick(KEYS[number % 1000])
        began.in_flight_count += 1
        remove(began)
        ended = busy[number % busy_count]
        busy[number % busy_count] = began
        ended.in_flight_count -= 1
        add(ended)


def run_nothing(busy: list[PlainCandidate], assignments_count: int) -> None:
    """The same loop without the calls."""
    busy_count = len(busy)
    for number in range(assignments_count):
        began = busy[number % busy_count]
        KEYS[number % 1000]
        began.in_flight_count += 1
        ended = busy[number % busy_count]
        busy[number % busy_count] = began
        ended.in_flight_count -= 1


RUNS: Final[dict[str, Run]] = {"free": run_free, "full": run_full}


def _print_row(costs: Sequence[Cost], *, with_headings: bool) -> None:
    if with_headings:
        counts = "".join(f"{f'{count:,} workers':>15}" for count in WORKERS_COUNTS)
        print(f"{'strategy':<22}{'slots':<6}{counts}{'ratio':>8}   (ns for pick and completion)")
    figures = "".join(f"{cost.assignment_ns:>15.0f}" for cost in costs)
    ratio = costs[-1].assignment_ns / max(costs[0].assignment_ns, 1.0)
    print(f"{costs[0].strategy:<22}{costs[0].slots:<6}{figures}{ratio:>8.2f}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.strategy_cost",
        description="CPU time of each strategy for one assignment: picked, started and ended.",
    )
    parser.add_argument(
        "--strategy",
        action="append",
        choices=list(STRATEGIES),
        help="measure this one (repeatable; default: all)",
    )
    parser.add_argument(
        "--assignments",
        type=_positive,
        default=ASSIGNMENTS_COUNT,
        help=f"assignments in a round (default {ASSIGNMENTS_COUNT:,})",
    )
    parser.add_argument(
        "--rounds",
        type=_positive,
        default=ROUNDS_COUNT,
        help=f"rounds, the lowest figure counts (default {ROUNDS_COUNT})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
