"""A journal that finds no room under load: a bound on the size of its files (RLIMIT_FSIZE), which is lifted again."""

import asyncio
import resource
from pathlib import Path
from typing import Final

import psutil

from tests.faults import submitting
from tests.faults.caller import Pulse, calling
from tests.faults.job_client import job_client
from tests.faults.journals import read_journal
from tests.faults.ledger import count_runs
from tests.faults.starting import ROOT, start_worker, wait_for_workers
from tests.faults.submitting import read_submissions
from tests.integration.peers import eventually
from tests.processes import Program, Programs

ROOM_BYTES: Final = 256 * 1024
FULL_BYTES: Final = 16 * 1024
"""Then nothing fits: neither into the WAL nor, to make room there, into the database."""
PULSE_S: Final = 1.5
QUANTILE_S_MAX: Final = 0.1


def bound_files(pid: int, size_bytes: int) -> None:
    """From here on no file of this process grows beyond that."""
    psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def count(submitter: Program, what: str) -> int:
    return submitter.stdout.count(f"\n{what} ")


async def test_a_full_disk_refuses_submissions_loses_none_with_a_receipt_and_leaves_live_requests_alone(
    programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    broker = programs.start_broker("--journal", str(path))
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    submitter = programs.start(
        *(submitting.PATH, broker.requester_url, "s", "200"), environment={"PYTHONPATH": str(ROOT)}
    )
    await eventually(lambda: count(submitter, "receipt") > 100, "jobs are accepted")
    largest = max(file.stat().st_size for file in tmp_path.glob("journal.db*"))
    bound_files(broker.pid, largest + ROOM_BYTES)
    await eventually(lambda: count(submitter, "refused") > 0, "the disk is full")
    bound_files(broker.pid, FULL_BYTES)
    refused_count = count(submitter, "refused")
    await eventually(lambda: count(submitter, "refused") > refused_count + 50, "the disk stays full")
    async with calling(broker.requester_url) as caller, job_client(broker.requester_url) as client:
        pulse = Pulse(caller, "echo", {"message": "live"})
        await pulse.beat(PULSE_S)
        assert pulse.quantile_s(0.9) < QUANTILE_S_MAX
        refusal = await client.ask("submit", command="echo", data={})
        assert refusal["code"] == "journal_failed", refusal
        status, said = broker.get("/readyz")
        assert (status, "journal" in said) == (200, True), said  # it is there for live requests
        bound_files(broker.pid, resource.RLIM_INFINITY)
        receipts_count = count(submitter, "receipt")
        await eventually(lambda: count(submitter, "receipt") > receipts_count + 100, "there is room again")
        assert (await client.result(await client.submit("echo", {"message": "again"})))["data"] == "again"
        assert broker.get("/readyz") == (200, "ready\n")
        submitter.terminate()
        await asyncio.to_thread(submitter.wait)
        found = await client.views(states=["accepted", "held", "assigned"])
        while found:
            await asyncio.sleep(0.05)
            found = await client.views(states=["accepted", "held", "assigned"])
    broker.kill()
    broker.wait()
    submissions = read_submissions([submitter])
    journal = read_journal(path, tmp_path)
    assert submissions.receipts <= set(journal)
    assert submissions.refused, "some were refused"
    assert not submissions.refused & set(journal), "what was refused does not come true"
    runs = count_runs([worker])
    assert all(runs[job_id] <= 1 for job_id in journal if not job_id.startswith(("flaky", "broken")))
    assert not set(runs) & submissions.refused
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]
