"""Durable jobs beside task queues: what a Python user gets, with fsync everywhere."""

from collections.abc import Sequence
from dataclasses import asdict
from subprocess import SubprocessError
from typing import Any, Final

from ..broker_process import BrokerFailed
from ..contenders import TASKFERRY
from ..formats import number, ratio, span
from ..peers.end_to_end.measurement import ProgramFailed
from ..peers.jobs.contenders import JOB_PEERS, WORKER_PROCESSES_COUNT
from ..peers.jobs.loop import ASYNC_SUBMITTERS_COUNT, SUBMITTERS_COUNT, JobPlan
from ..peers.jobs.measurement import measure_jobs
from ..peers.servers import Missing
from ..results import Row, SectionResults
from .section import Report, Round, Section, Table

IN_FLIGHT_COUNT: Final = 64
SUBMIT_S: Final = 2.0
SERIAL_S: Final = 1.0
SATURATED_S: Final = 3.0
KINDS: Final = {peer.name: peer.kind for peer in JOB_PEERS}
FIGURES: Final = {
    "submissions_per_s": "submissions/s",
    "jobs_per_s": "jobs/s to their result",
    "result_p50_ms": "p50 to the result ms",
}
"""What is shown of each, and its heading."""


def _measure(a_round: Round, report: Report) -> None:
    share = a_round.extent.seconds_share
    plan = JobPlan(SUBMIT_S * share, SERIAL_S * share, SATURATED_S * share, IN_FLIGHT_COUNT)
    is_forward = a_round.index % 2 == 0
    for peer in JOB_PEERS if is_forward else JOB_PEERS[::-1]:
        try:
            figures = measure_jobs(peer, plan)
        except Missing as missing:
            a_round.note(f"left out: {missing}")
            continue
        except (BrokerFailed, ProgramFailed, SubprocessError) as failure:
            if peer.name == TASKFERRY:
                raise
            a_round.note(f"{peer.name} FAILED: {failure}")
            continue
        report({"peer": peer.name}, asdict(figures))
        a_round.note(
            f"{peer.name}: {figures.submissions_per_s:,.0f} submissions/s, {figures.jobs_per_s:,.0f} jobs/s, "
            f"p50 {figures.result_p50_ms:.2f} ms"
        )


def _tables(results: SectionResults) -> list[Table]:
    own = {figure: results.median(figure, peer=TASKFERRY) for figure in FIGURES}
    ratios = [
        (*_names(row), *(ratio(own[figure], row.median(figure)) for figure in FIGURES))
        for row in _quickest_first(results)
        if row.case["peer"] != TASKFERRY
    ]
    absolute = [
        (
            *_names(row),
            *(cell for figure in FIGURES for cell in (number(row.median(figure)), span(row.figures[figure]))),
        )
        for row in _quickest_first(results)
    ]
    headings = ("peer", "keeps jobs in", *FIGURES.values())
    spans = tuple(cell for heading in FIGURES.values() for cell in (heading, "(min..max)"))
    return [
        Table("Taskferry's figures as multiples of each peer's", headings, ratios, text_columns=2),
        Table("Each peer's own", (*headings[:2], *spans), absolute, text_columns=2),
    ]


def _names(row: Row) -> tuple[str, str]:
    name = str(row.case["peer"])
    return name, KINDS.get(name, "")


def _quickest_first(results: SectionResults) -> list[Row]:
    return sorted(results.rows, key=lambda row: -row.median("jobs_per_s"))


def _plot(axes: Sequence[Any], results: SectionResults) -> None:
    """A point for each peer: the axis is logarithmic, so bars would have no baseline."""
    rows = _quickest_first(results)
    axes[0].plot([row.median("jobs_per_s") for row in rows], [str(row.case["peer"]) for row in rows], "o")
    axes[0].invert_yaxis()
    axes[0].set_xscale("log")
    axes[0].set_xlabel("jobs/s from submission to result")


SECTION: Final = Section(
    name="job-peers",
    title="Durable jobs beside task queues",
    meaning=(
        f"Each with its own Python SDK, {WORKER_PROCESSES_COUNT} worker processes and one submitter, nothing pinned; "
        "what is installed takes part (`make bench-peers` installs all). What counts as accepted is on disk with all "
        "of them: Redis writes every command with fsync (`appendfsync always`), PostgreSQL and SQLite commit. "
        f"Submissions go to a queue that nobody serves, from {SUBMITTERS_COUNT} threads or "
        f"{ASYNC_SUBMITTERS_COUNT} coroutines, as each client has it; jobs to their result keep {IN_FLIGHT_COUNT} in "
        "flight; p50 is that of one job at a time. procrastinate keeps no results: there it is the end of the job."
    ),
    measure=_measure,
    tables=_tables,
    plot=_plot,
    rounds_count_max=3,
)
