"""Which imports make a start slow: `python -X importtime` of the command and of the broker, the most expensive first.

Run it from the checkout: `python -m benchmarks.import_cost --help`.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from .broker_process import BrokerFailed
from .formats import number
from .sections.section import Table
from .tables import markdown

STATEMENTS: Final = {
    "taskferry --help": "import taskferry.cli.main",
    "taskferry broker": "import taskferry.broker.run, taskferry.broker.http.server",
}
"""What a program imports before it can do anything."""

SHOWN_COUNT: Final = 20
IMPORT_TIMEOUT_S: Final = 30.0
_LINE: Final = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|(\s*)(\S+)")


class Import(NamedTuple):
    """One module; `whole_us` includes the modules that it was the first to import."""

    module: str
    own_us: int
    whole_us: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each program; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        for program, statement in STATEMENTS.items():
            print(markdown(_table(program, imports(options.broker_python, statement), options.shown)))
    except BrokerFailed as error:
        print(f"import_cost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def imports(python: str, statement: str) -> list[Import]:
    """What `statement` imports, the most expensive by itself first. Raises BrokerFailed if it does not run."""
    command = [python, "-X", "importtime", "-c", statement]
    try:
        run = subprocess.run(command, capture_output=True, check=True, timeout=IMPORT_TIMEOUT_S, text=True)
    except OSError as error:
        raise BrokerFailed(f"{python} does not start: {error.strerror}") from None
    except subprocess.SubprocessError as error:
        raise BrokerFailed(f"{python}: {statement}: {error}") from None
    found = [Import(match[4], int(match[1]), int(match[2])) for match in _LINE.finditer(run.stderr)]
    return sorted(found, key=lambda one: one.own_us, reverse=True)


def _table(program: str, found: Sequence[Import], shown_count: int) -> Table:
    whole_ms = sum(one.own_us for one in found) / 1e3
    return Table(
        f"{program}: {len(found)} modules, {number(whole_ms)} ms by the interpreter's report",
        ("module", "own ms", "with what it imports, ms"),
        [(one.module, number(one.own_us / 1e3), number(one.whole_us / 1e3)) for one in found[:shown_count]],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_cost", description=__doc__)
    parser.add_argument(
        "--shown", type=int, default=SHOWN_COUNT, help="modules to show (default %(default)s)"
    )
    parser.add_argument(
        "--broker-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter to measure (default: this one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
