"""docs/metrics.md lists every family of the code, and its text names the code's bounds."""

import re

from taskferry.broker.access.counts import Limit
from taskferry.broker.access.rights import Action
from taskferry.broker.core.fleet.directory import COMMANDS_LISTED_COUNT_MAX, OTHER
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.broker.core.measures.histogram import DURATION_BOUNDS_S
from taskferry.broker.entrance_counts import Ended, Proof
from taskferry.broker.http.counts import HttpRefusalReason
from taskferry.broker.job_reading import STATES
from taskferry.broker.metrics.jobs import JOBS
from taskferry.broker.metrics.program import process_registry
from taskferry.broker.metrics.scrape import FAMILIES, SCRAPES_COUNT_MAX
from taskferry.transport.admission import RefusalReason

from tests.unit.layout.source_tree import ROOT

TEXT = (ROOT / "docs" / "metrics.md").read_text()
ROWS = re.findall(r"^\| `(taskferry_\w+)` \| (\w+) \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)


def test_every_family_has_its_row_and_every_row_its_family() -> None:
    there = {
        (name, type_, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, type_, labels, meaning in ROWS
    }
    families = (*FAMILIES, *JOBS)
    assert there == {(family.name, family.type, family.labels, family.help) for family in families}
    assert len(ROWS) == len(families)


def test_the_families_of_the_process_are_named() -> None:
    for family in process_registry().collect():
        if family.name.startswith("python_gc"):
            assert "`python_gc_*`" in TEXT
        else:
            assert re.search(rf"`{family.name}(_total|_info)?`|`{family.name}`", TEXT), family.name


def test_closed_sets_are_complete() -> None:
    for member in (*RefusalReason, *HttpRefusalReason, *Proof, *Ended, *Action, *Limit):
        assert f"`{member.value}`" in TEXT, member
    for name in STATES:
        assert f"`{name}`" in TEXT, name
    for state in WorkerState:
        assert (f"`{state.value}`" in TEXT) == (state is not WorkerState.GONE)


def test_bounds_are_those_of_the_code() -> None:
    assert f"{COMMANDS_LISTED_COUNT_MAX:,} commands" in TEXT
    assert f"`{OTHER}`" in TEXT
    assert f"{SCRAPES_COUNT_MAX} scrapes" in TEXT
    assert f"from {DURATION_BOUNDS_S[0] * 1000:g} ms to {DURATION_BOUNDS_S[-1]:g} s" in TEXT
