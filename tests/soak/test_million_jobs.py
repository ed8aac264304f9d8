"""A journal with a million waiting jobs: opened in seconds, the next ones found at once, written as fast as an empty
one, and not held in memory."""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from taskferry.broker.jobs.ports import NextInLane, Opened, Opening, Query, Select
from taskferry.broker.jobs.rows import Batch
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage.sqlite_journal import SqliteJournal
from taskferry.protocol.job_messages import Filter

from tests.unit.broker.storage.journals import ask, changes, opened, submissions, write

WAITING_COUNT = 1_000_000
BATCH_COUNT = 200
OPEN_S_MAX = 5.0
"""Of CPU time: on a quiet machine about what passes, and a loaded one does not change it much."""
NEXT_S_MAX = 0.1
"""Of the median. On a quiet machine it is 3 ms for 256 jobs."""
RSS_GROWTH_BYTES_MAX = 150 * 1024**2
SLOWER_MAX = 2.0
"""Submissions with a million waiting ones may take so many times as long: what a loaded machine makes of one."""


def report(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


def rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


async def submit(journal: SqliteJournal, first: int, count: int) -> float:
    """Seconds for each job."""
    started = time.perf_counter()
    for start in range(first, first + count, BATCH_COUNT):
        assert await write(journal, submissions(range(start, start + BATCH_COUNT), bytes(100))) is None
    return (time.perf_counter() - started) / count


async def timed(journal: SqliteJournal, query: Query) -> tuple[float, Any]:
    started = time.perf_counter()
    found = await ask(journal, query)
    return time.perf_counter() - started, found


async def test_a_million_waiting_jobs(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        empty_s = await submit(journal, 1, 20_000)
        await submit(journal, 20_001, WAITING_COUNT - 20_000)
    rss_before = rss_bytes()
    started, started_cpu = time.perf_counter(), time.process_time()
    async with opened(path) as journal:
        found = await ask(journal, Opening())
        open_s, open_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
        assert isinstance(found, Opened)
        assert found.lane_counts[0].accepted_count == WAITING_COUNT
        full_s = await submit(journal, WAITING_COUNT + 1, 20_000)
        nexts = []
        for first in range(1, 20_000, 256):
            next_s, next_found = await timed(journal, NextInLane(1, 256, 2**26, frozenset(), 2e9))
            assert [job.new.seq for job in next_found.jobs] == list(range(first, first + 256))
            nexts.append(next_s)
            await write(journal, changes(range(first, first + 256), JobState.DONE))
        list_s, page = await timed(journal, Select(Filter(), None, None, 100))
        assert page[0].new.seq == WAITING_COUNT + 20_000
        nothing_s, none = await timed(journal, Select(Filter(states=["dead"]), None, None, 100))
        assert none == []
        grown = rss_bytes() - rss_before
    report(
        f"a million waiting jobs: open {open_s:.2f} s ({open_cpu_s:.2f} s of CPU); "
        f"next 256 {statistics.median(nexts) * 1e3:.1f} ms; "
        f"submissions {1 / full_s:,.0f}/s, {1 / empty_s:,.0f}/s with none; first page {list_s * 1e3:.1f} ms, "
        f"a filter that finds nothing {nothing_s * 1e3:.0f} ms; memory +{grown / 1024**2:.0f} MiB; "
        f"file {path.stat().st_size / 1024**2:.0f} MiB"
    )
    assert open_cpu_s < OPEN_S_MAX
    assert statistics.median(nexts) < NEXT_S_MAX
    assert full_s < SLOWER_MAX * empty_s
    assert grown < RSS_GROWTH_BYTES_MAX


async def test_a_thousand_removals_at_once_do_not_hold_the_journal(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal.db") as journal:
        await submit(journal, 1, 100_000)
        for start in range(1, 20_000, 1_000):
            batch = Batch()
            batch.removed += range(start, start + 1_000)
            started = time.perf_counter()
            assert await write(journal, batch) is None
            assert time.perf_counter() - started < 1.0
