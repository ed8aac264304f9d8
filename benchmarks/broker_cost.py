"""What a request costs the broker: CPU, throughput, latency and memory, beside nats-server in the same run.

Run it from the checkout: `python -m benchmarks.broker_cost --help`. Knows the options and the order of the rounds.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from .broker_process import BrokerFailed, stop_brokers_on_signals
from .contenders import Contender, nats, taskferry
from .cores import split_cores
from .load import REQUEST_COUNT, Load, Mode, load_of
from .measurement import Measurement, measure
from .payload import SIZE_BYTES_MIN, Shape, json_data
from .report import Result, as_json, machine, table
from .request_stream import LoadFailed

DEFAULT_SIZES_BYTES = (SIZE_BYTES_MIN, 16_384)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 with a table, 1 where a broker or a load failed, 130 after Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    stop_brokers_on_signals()
    try:
        loads = [
            load_of(json_data(size_bytes, options.data), mode, options.requests)
            for size_bytes in options.size or DEFAULT_SIZES_BYTES
            for mode in options.mode or get_args(Mode)
        ]
        results = _run(_contenders(options.peer), loads, options.rounds)
        print(table(results))
        if options.json is not None:
            options.json.write_text(json.dumps(as_json(results), indent=2) + "\n")
    except (BrokerFailed, LoadFailed, OSError, ValueError) as error:
        print(f"broker_cost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(contenders: Sequence[Contender], loads: Sequence[Load], round_count: int) -> list[Result]:
    cores = split_cores()
    if cores.broker is None:
        _note("no two cores to pin to: broker and load share, so only compare figures of this very run")
    about = machine()
    _note(f"{about['processor']}, {about['core_count']} cores, {about['python']}")
    measured: dict[tuple[Load, str], list[Measurement]] = {
        (load, contender.name): [] for load in loads for contender in contenders
    }
    for round_index in range(round_count):
        # Every other round the other way round, so that neither always runs on the warmer machine.
        ordered = contenders if round_index % 2 == 0 else contenders[::-1]
        for load in loads:
            for contender in ordered:
                figures = measure(contender, load, cores)
                measured[load, contender.name].append(figures)
                _note(
                    f"round {round_index + 1}/{round_count}  {len(load.data)} B  {load.mode}  {contender.name}: "
                    f"{figures.broker_cpu_us:.2f} us CPU per request, {figures.other_cores:.2f} other cores busy"
                )
    return [Result(load, broker, rounds) for (load, broker), rounds in measured.items()]


def _contenders(peer: str) -> list[Contender]:
    if peer == "none":
        return [taskferry()]
    peer_contender = nats()
    if peer_contender is None:
        _note("nats-server is not installed (Debian: apt install nats-server): measuring without a peer")
        return [taskferry()]
    return [taskferry(), peer_contender]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.broker_cost",
        description="Measures what a request costs the broker, beside nats-server where that is installed.",
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds, their median counts (default 5)")
    parser.add_argument(
        "--requests",
        type=_positive,
        default=REQUEST_COUNT,
        help=f"requests per load and round (default {REQUEST_COUNT}); loads above 64 KiB take a tenth",
    )
    parser.add_argument(
        "--size",
        type=int,
        action="append",
        metavar="BYTES",
        help=f"size of the data, may be repeated (default {' and '.join(map(str, DEFAULT_SIZES_BYTES))})",
    )
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        action="append",
        help="how clients write: one send for each message, or joined per read batch (default both)",
    )
    parser.add_argument(
        "--data",
        choices=get_args(Shape),
        default="records",
        help="what the JSON of larger data is: many small records, or one long text (default records)",
    )
    parser.add_argument("--peer", choices=("nats", "none"), default="nats", help="beside whom (default nats)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round to FILE")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
