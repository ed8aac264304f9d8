"""`python -m benchmarks`: what Taskferry costs, beside floors and peers, as tables, as JSON and as docs/benchmarks.md.

The exit code is 0 with results, whatever they are, 1 if a broker or a load failed, and 130 after Ctrl-C or SIGTERM.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from .broker_process import BrokerFailed, stop_brokers_on_signals
from .contenders import TASKFERRY, contenders
from .cores import split_cores
from .file_limit import raise_file_limit
from .loads import BY_NAME as LOADS_BY_NAME
from .machine import about
from .page import write_page
from .request_stream import LoadFailed
from .results import Collection, Results, ResultsUnreadable, SectionResults, from_text, merged, to_text
from .sections.all import BY_NAME
from .sections.section import FULL, QUICK, Extent, Round
from .shown import as_text, in_order
from .targets import TARGETS

ROUNDS_COUNT: Final = 5
OTHERS: Final = ("tcp", "websockets", "picows", "nats")
"""Prefixes of the names of the brokers that Taskferry is compared with."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    options.only = None if options.only is None else {name for names in options.only for name in names}
    stop_brokers_on_signals()
    raise_file_limit()
    try:
        # Files first: an unreadable one must not show up after a quarter of an hour.
        earlier = merged(_read(path) for path in options.merge)
        measured, failures = ({}, []) if options.render else _run(options)
        results = merged([earlier, measured])
        print(as_text(results if options.render else measured, results, TARGETS))
        if options.json is not None:
            options.json.write_text(to_text(results), encoding="utf-8")
        if options.docs is not None and not failures:
            write_page(results, options.docs)
    except (BrokerFailed, ResultsUnreadable, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for failure in failures:
        print(f"benchmarks: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _run(options: argparse.Namespace) -> tuple[dict[str, SectionResults], list[str]]:
    """Results by section, and why some sections have none: the failure of one does not cost the results of others."""
    cores = split_cores()
    if cores.broker is None:
        _note("no two cores to pin to: broker and load share one, so compare figures of this run only")
    extent: Extent = QUICK if options.quick else FULL
    chosen = OTHERS if options.contenders is None else options.contenders
    wanted = [one for one in contenders(options.broker_python) if one.name.startswith((TASKFERRY, *chosen))]
    for name in chosen:
        if not any(one.name.startswith(name) for one in wanted):
            _note(f"{name} is not installed: measuring without it")
    where = about(options.broker_python) | {"extent": extent.name}
    sections = {
        name: section for name, section in BY_NAME.items() if not options.only or name in options.only
    }
    collections = {name: Collection(where) for name in sections}
    failures: list[str] = []
    for index in range(options.rounds):
        for name, section in sections.items():
            if name not in collections or index >= section.rounds_count_max:
                continue
            prefix = f"{name} {index + 1}/{min(options.rounds, section.rounds_count_max)}"
            a_round = Round(index, wanted, cores, extent, partial(_note_of, prefix), options.loads)
            try:
                section.measure(a_round, collections[name].add)
            except (BrokerFailed, LoadFailed, OSError) as error:
                del collections[name]
                failures.append(f"{name}: {error}")
                _note_of(prefix, f"failed: {error}")
    return {name: collection.results() for name, collection in collections.items()}, failures


def _read(path: Path) -> Results:
    try:
        results = from_text(path.read_bytes())
        in_order(results)  # checks that all of it can be shown
    except OSError as error:
        raise ResultsUnreadable(f"{path}: {error.strerror}") from None
    except ResultsUnreadable as error:
        raise ResultsUnreadable(f"{path}: {error}") from None
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        type=_section_names,
        metavar="SECTION",
        help=f"sections: of {', '.join(BY_NAME)}",
    )
    parser.add_argument(
        "--loads",
        nargs="+",
        choices=LOADS_BY_NAME,
        metavar="LOAD",
        help=f"loads of the section cost: of {', '.join(LOADS_BY_NAME)}",
    )
    parser.add_argument(
        "--contenders",
        nargs="*",
        choices=OTHERS,
        metavar="NAME",
        help=f"what to measure beside taskferry: of {', '.join(OTHERS)}; without a name nothing (default all)",
    )
    parser.add_argument(
        "--rounds",
        type=_positive,
        default=ROUNDS_COUNT,
        help="the figures are medians over them (default %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="very short: only shows that everything works")
    parser.add_argument(
        "--broker-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter that runs the broker; it must have Taskferry installed (default: this one)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round to FILE")
    parser.add_argument(
        "--merge",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="add sections of earlier results that are not measured now",
    )
    parser.add_argument(
        "--docs", type=Path, metavar="FOLDER", help="write benchmarks.md and its plots into FOLDER"
    )
    parser.add_argument("--render", action="store_true", help="measure nothing: show what --merge has read")
    return parser


def _section_names(text: str) -> list[str]:
    """One name, or several with commas between them."""
    names = text.split(",")
    for name in names:
        if name not in BY_NAME:
            raise argparse.ArgumentTypeError(f"no section is called {name!r}; there are {', '.join(BY_NAME)}")
    return names


def _positive(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count} is below 1")
    return count


def _note_of(prefix: str, text: str) -> None:
    _note(f"{prefix}  {text}")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
