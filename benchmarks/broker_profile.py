"""Where the broker's CPU goes under a load: the broker runs under cProfile, its costliest functions are printed.

Run it from the checkout: `python -m benchmarks.broker_profile --help`.
"""

import argparse
import dataclasses
import pstats
import sys
from collections.abc import Sequence
from pathlib import Path

from .broker_process import BrokerFailed, stop_brokers_on_signals
from .contenders import Contender, taskferry
from .cores import split_cores
from .loads import BY_NAME
from .measurement import measure
from .request_stream import LoadFailed

PRINTED_FUNCTION_COUNT = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 with a profile, 1 if the broker or the load failed, 130 after Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    stop_brokers_on_signals()
    try:
        load = BY_NAME[options.load].load
        measure(_under_profiler(taskferry(options.broker_python), options.output), load, split_cores())
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
        description="Profiles the broker under a load, from its start to its end.",
    )
    parser.add_argument("output", type=Path, metavar="FILE", help="where to write the profile (for pstats)")
    parser.add_argument(
        "--load",
        choices=BY_NAME,
        default="saturated-joined",
        metavar="LOAD",
        help=f"of {', '.join(BY_NAME)} (default %(default)s)",
    )
    parser.add_argument(
        "--broker-python", default=sys.executable, metavar="PATH", help="interpreter that runs the broker"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
