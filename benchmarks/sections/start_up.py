"""How long programs take to start: wall time from their start to their exit, or until they are ready.

`import_cost` shows which imports take that time.
"""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from ..broker_process import START_TIMEOUT_S, STOP_TIMEOUT_S, BrokerFailed
from ..contenders import Contender
from ..cores import pinned_to
from ..formats import number, ratio, span
from ..results import SectionResults
from .section import Report, Round, Section, Table

RUNS_COUNT: Final = 5
"""Of each program in a round; their median is the round's figure."""

BARE: Final = "python -c pass"


class Program(NamedTuple):
    """A command line; `ready_word` is in the line that says that it is ready, None if the program just ends."""

    name: str
    command: tuple[str, ...]
    ready_word: str | None


def programs(broker: Contender) -> list[Program]:
    """What is started: the interpreter alone, as a floor, and the commands of the targets."""
    python = broker.command[0]
    return [
        Program(BARE, (python, "-c", "pass"), None),
        Program("taskferry --help", (str(Path(python).with_name("taskferry")), "--help"), None),
        Program("taskferry broker, until ready", broker.command, "ready"),
    ]


def _measure(a_round: Round, report: Report) -> None:
    runs_count = max(1, round(RUNS_COUNT * a_round.extent.requests_share))
    for program in programs(a_round.taskferry):
        with pinned_to(a_round.cores.broker):
            wall_ms = median(_start_ms(program) for _ in range(runs_count))
        report({"program": program.name}, {"wall_ms": wall_ms})
        a_round.note(f"{program.name}: {wall_ms:.0f} ms")


def _start_ms(program: Program) -> float:
    began = time.perf_counter()
    try:
        process = subprocess.Popen(
            program.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise BrokerFailed(f"{program.command[0]} does not start: {error.strerror}") from None
    assert process.stdout is not None
    with process.stdout as printed:
        try:
            last_line = ""
            for last_line in printed:
                if program.ready_word is not None and program.ready_word in last_line:
                    return (time.perf_counter() - began) * 1e3
            code = process.wait(START_TIMEOUT_S)
            if code != 0 or program.ready_word is not None:
                raise BrokerFailed(f"{program.name} ended with exit code {code}: {last_line.strip()}")
            return (time.perf_counter() - began) * 1e3
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)


def _tables(results: SectionResults) -> list[Table]:
    bare_ms = results.median("wall_ms", program=BARE)
    rows = [
        (
            str(row.case["program"]),
            ratio(row.median("wall_ms"), bare_ms),
            number(row.median("wall_ms")),
            span(row.figures["wall_ms"]),
        )
        for row in results.rows
    ]
    return [Table("Wall time", ("program", f"/ {BARE}", "ms", "(min..max)"), rows)]


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """One bar per program."""
    axes[0].barh(
        [str(row.case["program"]) for row in results.rows], [row.median("wall_ms") for row in results.rows]
    )
    axes[0].invert_yaxis()
    axes[0].set_xlabel("ms")


SECTION: Final = Section(
    name="start-up",
    title="How long it takes to start",
    meaning=(
        f"Wall time on one core, files in the system's cache; a round's figure is the median of {RUNS_COUNT} starts. "
        "The floor is an interpreter that does nothing. `python -m benchmarks.import_cost` shows which imports take "
        "the rest."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
)
