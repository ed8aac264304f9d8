"""Broker, workers and submitter are killed at random moments under load. When all is quiet the three books agree: what
the submitter has receipts for, what the workers have run, and what the journal's file says.

CRASH_ROUNDS=200 in `make soak`, a few rounds otherwise. CRASH_SEED repeats a run, as far as the machine lets it.
"""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.faults import submitting
from tests.faults.job_client import job_client
from tests.faults.journals import JobRow, read_journal
from tests.faults.ledger import count_runs
from tests.faults.starting import ROOT, lasting_ports, start_worker
from tests.faults.submitting import Submissions, kind_of, read_submissions
from tests.processes import Broker, Program, Programs

ROUNDS_COUNT: Final = int(os.environ.get("CRASH_ROUNDS", "4"))
SEED: Final = int(os.environ.get("CRASH_SEED") or random.randrange(10**9))
RATE: Final = 300.0
"""Jobs a second."""
QUIET_S_MAX: Final = 40.0
"""From the end of a round's submissions until all of its jobs have ended."""
WORKERS_COUNT: Final = 3
VICTIMS: Final = (
    ("broker",),
    ("broker",),
    ("worker",),
    ("broker", "worker"),
    ("worker", "broker"),
    ("worker", "worker", "worker"),
    ("submitter", "broker"),
    ("broker", "worker", "worker", "worker", "submitter"),
)
ATTEMPTS_COUNT_MAX: Final = {"flaky": 2, "broken": 2}
"""What a job of each kind needs, if no worker is lost; one, of those that are not named."""
LOSSES_COUNT_MAX: Final = 3


class Crashes:
    """All processes of one run, and what has been found of each job so far."""

    def __init__(self, programs: Programs, folder: Path, seed: int) -> None:
        self._programs = programs
        self._folder = folder
        self._random = random.Random(seed)
        self._journal = folder / "journal.db"
        self._options = (*lasting_ports(), "--journal", str(self._journal))
        self._broker = self._start_broker()
        self._killed: list[Program] = []
        self._workers = [self._start_worker() for _ in range(WORKERS_COUNT)]
        self._submitters: list[Program] = []
        self._killed_submitters_count = 0
        self._ended: dict[str, JobRow] = {}
        self._runs: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def round(self) -> None:
        """Load, kills, quiet; then compare the books. Raises AssertionError."""
        self._submitters.append(self._start_submitter())
        self._submitters[-1].wait_for_stdout("sent")
        for _ in range(self._random.choice((1, 1, 2))):
            time.sleep(self._random.uniform(0.05, 0.8))
            self._kill(self._random.choice(VICTIMS))
        time.sleep(self._random.uniform(0, 0.3))
        self._submitters[-1].terminate()
        self._submitters[-1].wait()
        asyncio.run(self._quiet())
        if self._random.random() < 0.8:
            self._broker.kill()
        else:
            self._broker.terminate()
        self._broker.wait()
        self._compare()
        self._broker = self._start_broker()

    def _kill(self, victims: Sequence[str]) -> None:
        """One after the other, at once; then start each again, in any order."""
        starting = []
        for victim in victims:
            match victim:
                case "broker":
                    self._broker.kill()
                    starting.append(self._restart_broker)
                case "worker":
                    worker = self._workers.pop(self._random.randrange(len(self._workers)))
                    worker.kill()
                    self._killed.append(worker)
                    starting.append(self._restart_worker)
                case "submitter":
                    self._submitters[-1].kill()
                    starting.append(self._restart_submitter)
        self._random.shuffle(starting)
        for start in starting:
            time.sleep(self._random.choice((0.0, self._random.uniform(0, 0.5))))
            start()

    def _restart_broker(self) -> None:
        self._broker.wait()
        self._broker = self._start_broker()

    def _restart_worker(self) -> None:
        self._workers.append(self._start_worker())

    def _restart_submitter(self) -> None:
        self._submitters.append(self._start_submitter())

    def _start_broker(self) -> Broker:
        return self._programs.start_broker(*self._options)

    def _start_worker(self) -> Program:
        name = f"w{len(self._killed) + len(getattr(self, '_workers', ()))}-{self._random.randrange(10**6)}"
        return start_worker(self._programs, self._broker.worker_url, name, "--concurrency", "20")

    def _start_submitter(self) -> Program:
        name = f"s{len(self._submitters)}"
        return self._programs.start(
            *(submitting.PATH, self._broker.requester_url, name, str(RATE)),
            environment={"PYTHONPATH": str(ROOT)},
        )

    async def _quiet(self) -> None:
        """Wait until no job is open."""
        give_up_at = time.monotonic() + QUIET_S_MAX
        async with job_client(self._broker.requester_url) as client:
            while found := await client.views(states=["accepted", "held", "assigned"]):
                assert time.monotonic() < give_up_at, f"{len(found)} are open: {next(iter(found.values()))}"
                await asyncio.sleep(0.05)

    def _compare(self) -> None:
        journal = read_journal(self._journal, self._folder)
        submissions = read_submissions(self._submitters)
        assert_submitted(journal, submissions)
        survivors, killed = count_runs(self._workers), count_runs(self._killed)
        for job_id, row in journal.items():
            assert_ended_rightly(job_id, row, survivors[job_id], killed[job_id])
        for job_id, row in self._ended.items():
            assert journal[job_id] == row, (job_id, row, journal[job_id])
            runs = survivors[job_id] + killed[job_id]
            assert runs == self._runs[job_id], f"{job_id} had ended and has run again"
        self._ended = journal
        self._runs = survivors + killed
        self.outcomes = Counter(f"{kind_of(job_id)} {row.state}" for job_id, row in journal.items())
        assert "Traceback" not in self._broker.stderr, self._broker.stderr[-4000:]


def assert_submitted(journal: dict[str, JobRow], submissions: Submissions) -> None:
    """What has a receipt is there, and nothing is there that nobody sent."""
    lost = submissions.receipts - set(journal)
    assert not lost, f"{len(lost)} jobs with a receipt are gone, such as {min(lost)}"
    assert set(journal) <= submissions.sent
    assert not submissions.refused, f"{min(submissions.refused)} was refused"


def assert_ended_rightly(job_id: str, row: JobRow, survivors_runs: int, killed_runs: int) -> None:
    """The end of a job fits its kind and what has run: `survivors_runs` in workers that were not killed, `killed_runs`
    in those that were."""
    told = f"{job_id}: {row}, {survivors_runs} runs in workers that live, {killed_runs} in killed ones"
    kind = kind_of(job_id)
    if row.life.code == "worker_lost":
        assert row.state == "dead", told
        assert kind == "once" or row.life.losses_count >= LOSSES_COUNT_MAX, told
    elif kind == "broken":
        assert (row.state, row.life.code, row.life.failures_count) == ("dead", "handler_error", 2), told
    else:
        assert row.state == "done", told
        assert row.result is not None, told
        assert survivors_runs + killed_runs >= 1, told
    assert survivors_runs <= ATTEMPTS_COUNT_MAX.get(kind, 1), told
    if kind == "once":
        assert survivors_runs + killed_runs <= 1, told


@pytest.mark.timeout(60 + 45 * ROUNDS_COUNT)
def test_after_kills_at_random_moments_the_books_of_submitter_workers_and_journal_agree(
    programs: Programs, tmp_path: Path
) -> None:
    sys.stdout.write(f"CRASH_SEED={SEED}\n")
    crashes = Crashes(programs, tmp_path, SEED)
    for number in range(1, ROUNDS_COUNT + 1):
        began_at = time.monotonic()
        crashes.round()
        sys.stdout.write(
            f"round {number}: {crashes.outcomes.total()} jobs agree, {time.monotonic() - began_at:.1f} s\n"
        )
    sys.stdout.write(f"{dict(crashes.outcomes)}\n")
