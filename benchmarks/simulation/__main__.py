"""`python -m benchmarks.simulation`: every experiment over several seeds, docs/simulation.md and its plots.

Exit codes: 0 if every bound is kept, 1 if one is broken, 130 after Ctrl-C.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from .experiment import Experiment, Result, broken
from .experiments import BY_NAME, EXPERIMENTS, end_on_interrupt, run_one
from .page import page, picture_name

DOCS: Final = Path(__file__).parents[2] / "docs"
SEEDS_COUNT: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    chosen = [experiment for experiment in EXPERIMENTS if not options.only or experiment.name in options.only]
    try:
        results = _run(chosen, range(1, options.seeds + 1), options.scale, options.processes)
    except KeyboardInterrupt:
        return 130
    is_whole = chosen == list(EXPERIMENTS) and options.scale == 1.0
    if is_whole and not options.no_docs:
        _write(results, options.docs)
    failures = [
        f"{experiment.name}, seed {seed}: {line}"
        for experiment, by_seed in results
        for seed, result in enumerate(by_seed, 1)
        for line in broken(experiment.bounds, result)
    ]
    for failure in failures:
        print(f"simulate: {failure}", file=sys.stderr)
    if not failures:
        print(f"simulate: every bound is kept over {options.seeds} seeds")
    return 1 if failures else 0


def _run(
    experiments: Sequence[Experiment], seeds: Sequence[int], scale: float, processes_count: int
) -> list[tuple[Experiment, list[Result]]]:
    """All seeds of all experiments, in several processes; the order of the results is that of the arguments."""
    results: dict[tuple[str, int], Result] = {}
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes_count, mp_context=context, initializer=end_on_interrupt) as pool:
        tasks = {
            pool.submit(run_one, experiment.name, seed, scale): (experiment.name, seed)
            for seed in seeds
            for experiment in experiments
        }
        try:
            for task in as_completed(tasks):
                name, seed = tasks[task]
                results[name, seed], cpu_s = task.result()
                elapsed_s = time.monotonic() - started
                done = f"{len(results)}/{len(tasks)}"
                print(f"{elapsed_s:6.1f} s  {done:>6}  {name}, seed {seed}: {cpu_s:.1f} s", file=sys.stderr)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [(experiment, [results[experiment.name, seed] for seed in seeds]) for experiment in experiments]


def _write(results: Sequence[tuple[Experiment, Sequence[Result]]], docs: Path) -> None:
    from .pictures import draw  # noqa: PLC0415  only the page needs matplotlib

    docs.mkdir(exist_ok=True)
    for experiment, by_seed in results:
        draw(experiment, by_seed, docs / picture_name(experiment))
    (docs / "simulation.md").write_text(page(results), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=sorted(BY_NAME),
        metavar="NAME",
        help=f"of {', '.join(BY_NAME)}; writes no page",
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS_COUNT, help="1 to this number (default %(default)s)"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="length of the runs (default %(default)s); any other value writes no page",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page and its plots")
    parser.add_argument("--no-docs", action="store_true", help="only check the bounds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
