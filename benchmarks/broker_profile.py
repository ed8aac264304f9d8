"""Where the broker's CPU goes under a load: the broker runs under cProfile, its costliest functions are printed.

Run it from the checkout: `python -m benchmarks.broker_profile --help`. Knows the profiler; the load is broker_cost's.
"""

import argparse
import dataclasses
import pstats
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from .broker_process import BrokerFailed, stop_brokers_on_signals
from .contenders import Contender, taskferry
from .cores import split_cores
from .load import REQUEST_COUNT, Mode, load_of
from .measurement import measure
from .payload import SIZE_BYTES_MIN, Shape, json_data
from .request_stream import LoadFailed

PRINTED_FUNCTION_COUNT = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 with a profile, 1 where the broker or the load failed, 130 after Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    stop_brokers_on_signals()
    try:
        load = load_of(json_data(options.size, options.data), options.mode, options.requests)
        measure(_under_profiler(taskferry(), options.output), load, split_cores())
        pstats.Stats(str(options.output)).sort_stats("tottime").print_stats(PRINTED_FUNCTION_COUNT)
    except (BrokerFailed, LoadFailed, OSError, ValueError) as error:
        print(f"broker_profile: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _under_profiler(contender: Contender, output: Path) -> Contender:
    interpreter, *rest = contender.command
    command = (interpreter, "-m", "cProfile", "-o", str(output), *rest)
    return dataclasses.replace(contender, command=command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.broker_profile",
        description="Profiles the broker under a load, its start and its end included.",
    )
    parser.add_argument("output", type=Path, metavar="FILE", help="where to write the profile (for pstats)")
    parser.add_argument(
        "--requests", type=int, default=REQUEST_COUNT, help=f"requests to send (default {REQUEST_COUNT})"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=SIZE_BYTES_MIN,
        metavar="BYTES",
        help=f"size of the data (default {SIZE_BYTES_MIN})",
    )
    parser.add_argument(
        "--mode", choices=get_args(Mode), default="joined", help="how clients write (default joined)"
    )
    parser.add_argument("--data", choices=get_args(Shape), default="records", help="what larger data is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
