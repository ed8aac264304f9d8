"""Ten thousand jobs in every state and a broker that is killed, or stopped in order, in their middle."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.job_client import JobClient, job_client
from tests.faults.ledger import count_runs
from tests.faults.starting import lasting_ports, start_worker, wait_for_workers
from tests.processes import PATIENCE_S, Broker, Program, Programs, wait_until

ASSIGNED_S_MAX: Final = 5.0
SLACK_S: Final = 2.0
"""For what else runs on the machine."""
DONE_COUNT: Final = 4000
WAITING_COUNT: Final = 3000
KEPT_RUNNING_COUNT: Final = 100
LOST_RUNNING_COUNT: Final = 100
NAP_S: Final = 6.0


def has_run(workers: Sequence[Program], job_ids: Sequence[str]) -> bool:
    return set(job_ids) <= set(count_runs(workers))


async def all_are(client: JobClient, state: str, job_ids: Sequence[str]) -> None:
    """Wait until all of these are in `state`."""
    give_up_at = time.monotonic() + PATIENCE_S
    while missing := set(job_ids) - set(await client.views(states=[state])):
        assert time.monotonic() < give_up_at, f"{len(missing)} of {len(job_ids)} are not {state}"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_kill_of_the_broker_with_10_000_jobs_in_every_state_loses_none_and_runs_none_that_is_done_again(
    programs: Programs, tmp_path: Path
) -> None:
    options = (*lasting_ports(), "--journal", str(tmp_path / "journal.db"))
    broker = programs.start_broker(*options)
    kept = start_worker(programs, broker.worker_url, "kept", "--concurrency", "500", "--label", "zone=kept")
    lost = start_worker(programs, broker.worker_url, "lost", "--concurrency", "500", "--label", "zone=lost")
    await asyncio.to_thread(wait_for_workers, broker, "kept", "lost")
    async with job_client(broker.requester_url) as client:
        state = {
            "done": await client.submit_all("echo", DONE_COUNT, {"message": "x"}),
            "dead": await client.submit_all("flaky", 300, {"failures": 9}, attempts=1),
            "cancelled": await client.submit_all("unserved", 300),
            # Until the broker is killed nobody serves this target.
            "waiting": await client.submit_all("echo", WAITING_COUNT, target={"zone": "late"}),
            "delayed": await client.submit_all("echo", 1000, delay=3600),
            "retrying": await client.submit_all("flaky", 300, {"failures": 1}, backoff=3600),
            "kept": await client.submit_all(
                "nap", KEPT_RUNNING_COUNT, {"seconds": NAP_S}, target={"zone": "kept"}
            ),
            "lost": await client.submit_all(
                "nap", LOST_RUNNING_COUNT, {"seconds": NAP_S}, target={"zone": "lost"}
            ),
        }
        running = await client.submit("nap", {"seconds": NAP_S}, key="the key", target={"zone": "kept"})
        state["kept"].append(running)
        state["keyed"] = await client.submit_all("echo", 400, key="the key")
        state["after"] = await client.submit_all("echo", 500, after=[running])
        assert sum(map(len, state.values())) > 9_900
        assert (await client.ask("cancel", filter={"command": "unserved"}))["count"] == 300
        await all_are(client, "done", state["done"])
        await all_are(client, "dead", state["dead"])
        await asyncio.to_thread(
            wait_until,
            lambda: has_run([kept, lost], [*state["kept"], *state["lost"], *state["retrying"]]),
            "all run that are to run when it is killed",
        )
        before = await client.views()
    broker.kill()
    lost.kill()
    broker.wait()
    runs_before = count_runs([kept, lost])
    again = programs.start_broker(*options)
    ready_at = time.monotonic()
    late = start_worker(programs, again.worker_url, "late", "--concurrency", "500", "--label", "zone=late")
    next_one = start_worker(
        programs, again.worker_url, "next", "--concurrency", "500", "--label", "zone=lost"
    )
    await asyncio.to_thread(
        wait_until,
        lambda: has_run([late], state["waiting"]) and has_run([next_one], state["lost"]),
        "all is assigned again",
    )
    assert time.monotonic() - ready_at < ASSIGNED_S_MAX + SLACK_S
    async with job_client(again.requester_url) as client:
        assert set(await client.views()) == set(before)
        for name in ("kept", "lost", "waiting", "keyed", "after"):
            await all_are(client, "done", state[name])
        after = await client.views()
    states = Counter((name, after[job_id]["state"]) for name, ids in state.items() for job_id in ids)
    expected = {"done": "done", "dead": "dead", "cancelled": "cancelled", "delayed": "accepted"}
    expected |= {"retrying": "accepted", "waiting": "done", "kept": "done", "lost": "done"}
    expected |= {"keyed": "done", "after": "done"}
    assert states == {(name, expected[name]): len(ids) for name, ids in state.items()}
    assert_same_end(before, after, [*state["done"], *state["dead"], *state["cancelled"]])
    runs = count_runs([kept, lost, late, next_one])
    assert all(runs[job_id] == 1 for job_id in state["done"]), "what was done has run again"
    assert all(runs[job_id] == 1 for job_id in state["kept"]), "what was running has run again"
    assert all(runs[job_id] == 2 for job_id in state["lost"])
    assert all(after[job_id].get("losses", 0) == 1 for job_id in state["lost"])
    assert all(after[job_id].get("losses", 0) == 0 for job_id in state["kept"])
    assert all(runs[job_id] == runs_before[job_id] for job_id in (*state["dead"], *state["retrying"]))
    assert "Traceback" not in again.stderr, again.stderr[-4000:]


def assert_same_end(before: dict[str, Any], after: dict[str, Any], job_ids: Sequence[str]) -> None:
    """What had ended looks as it did."""
    changed = [job_id for job_id in job_ids if before[job_id] != after[job_id]]
    assert not changed, (before[changed[0]], after[changed[0]])


async def test_a_termination_of_the_broker_costs_no_attempt_of_what_runs_and_of_what_waits(
    programs: Programs, tmp_path: Path
) -> None:
    options = (*lasting_ports(), "--journal", str(tmp_path / "journal.db"), "--grace", "1")
    broker = programs.start_broker(*options)
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "20")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    async with job_client(broker.requester_url) as client:
        short = await client.submit_all("nap", 10, {"seconds": 0.5})
        long = await client.submit_all("nap", 10, {"seconds": 4})
        waiting = await client.submit_all("echo", 200)
        await asyncio.to_thread(wait_until, lambda: has_run([worker], [*short, *long]), "20 run")
        broker.terminate()
    assert await asyncio.to_thread(broker.wait) == 0
    assert not has_run([worker], waiting[:1]), "nothing begins once it is told to stop"
    again = programs.start_broker(*options)
    async with job_client(again.requester_url) as client:
        for job_id in (*short, *long, *waiting):
            assert (await client.result(job_id))["success"]
        for job_id, view in (await client.views()).items():
            assert (view["state"], view["attempt"], view.get("losses", 0)) == ("done", 1, 0), job_id
    assert count_runs([worker]) == dict.fromkeys((*short, *long, *waiting), 1)


async def test_results_that_a_worker_has_while_the_broker_is_down_are_not_lost(
    programs: Programs, tmp_path: Path
) -> None:
    options = (*lasting_ports(), "--journal", str(tmp_path / "journal.db"))
    broker = programs.start_broker(*options)
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    async with job_client(broker.requester_url) as client:
        jobs = await client.submit_all("nap", 100, {"seconds": 0.4})
        await asyncio.to_thread(wait_until, lambda: has_run([worker], jobs), "all run")
        broker.kill()
    broker.wait()
    await asyncio.sleep(0.6)  # all have ended, and there is nobody to tell
    again: Broker = programs.start_broker(*options)
    async with job_client(again.requester_url) as client:
        for job_id in jobs:
            response = await client.result(job_id)
            assert (response["success"], response["data"]) == (True, 0.4)
    assert count_runs([worker]) == dict.fromkeys(jobs, 1)


async def test_jobs_that_may_run_once_and_wait_for_a_slot_survive_a_kill_of_the_broker(
    programs: Programs, tmp_path: Path
) -> None:
    options = (*lasting_ports(), "--journal", str(tmp_path / "journal.db"))
    broker = programs.start_broker(*options)
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "1")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    async with job_client(broker.requester_url) as client:
        running = await client.submit("nap", {"seconds": 2}, at_most_once=True)
        await asyncio.to_thread(wait_until, lambda: has_run([worker], [running]), "it runs")
        waiting = await client.submit_all("echo", 50, at_most_once=True)
        await all_are(client, "accepted", waiting)
    broker.kill()
    broker.wait()
    again = programs.start_broker(*options)
    async with job_client(again.requester_url) as client:
        await all_are(client, "done", [running, *waiting])
    assert count_runs([worker]) == dict.fromkeys([running, *waiting], 1)
