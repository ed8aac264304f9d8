"""The wall clock of broker, worker and requester jumps by an hour, forwards or back, under load. Only the times in
the log may follow it: no deadline does, and no silence."""

import asyncio
import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults.caller import Pulse, calling, ended
from tests.faults.clocks import Clock, why_no_clock
from tests.faults.ledger import assert_broker_balances
from tests.faults.requesting import assert_calls_balance, read_calls
from tests.faults.starting import start_requester, start_worker, wait_for_workers
from tests.processes import Programs, wait_until

pytestmark = pytest.mark.skipif(bool(why_no_clock()), reason=why_no_clock())

HOUR_S = 3600
OTHERS_P99_S_MAX = 0.1
TIMEOUT_S = 1.0
LATE_S_MAX = 0.5
"""How late after its deadline a request may end on a busy machine."""


def last_logged_at(text: str) -> datetime:
    """The time of day of the last line of a log."""
    return datetime.strptime(re.findall(r"^\d\d:\d\d:\d\d", text, re.MULTILINE)[-1], "%H:%M:%S")


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["forwards", "back"])
async def test_a_jump_of_the_wall_clock_ends_no_link_and_moves_no_deadline(
    programs: Programs, tmp_path: Path, ahead_s: int
) -> None:
    clock = Clock(tmp_path)
    broker = programs.start_broker(environment=clock.environment)
    worker = start_worker(
        programs, broker.worker_url, "w", "--concurrency", "100", environment=clock.environment
    )
    await asyncio.to_thread(wait_for_workers, broker, "w")
    requester = start_requester(
        *(programs, broker.requester_url, "nap", {"seconds": 0.1}),
        in_flight_count=20,
        environment=clock.environment,
    )
    await asyncio.to_thread(wait_until, lambda: len(read_calls(requester)) > 50, "it is under way")
    async with calling(broker.requester_url) as caller:
        loop = asyncio.get_running_loop()
        naps = [await caller.send("nap", {"seconds": 1.5}) for _ in range(20)]
        hangs_began_at = loop.time()
        hangs = [await caller.send("hang", timeout=TIMEOUT_S) for _ in range(20)]
        await asyncio.to_thread(
            wait_until, lambda: broker.workers()["w"]["in_flight"] >= 40, "all of them run"
        )
        started_at = last_logged_at(broker.stderr)
        clock.move(ahead_s)
        responses = await ended(hangs)
        assert TIMEOUT_S <= loop.time() - hangs_began_at < TIMEOUT_S + LATE_S_MAX
        assert {(r["code"], r["delivery"]) for r in responses} == {("timeout", "may_have_run")}
        assert all(response["success"] for response in await ended(naps))
        pulse = Pulse(caller, "echo", {"message": "x"})
        await pulse.beat(1.0)
        assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
        assert broker.workers()["w"]["state"] == "healthy"
        assert broker.workers()["w"]["connected_s"] < 60
        assert 0 <= broker.status()["uptime_s"] < 60
    requester.terminate()
    await asyncio.to_thread(requester.wait)
    calls = assert_calls_balance(requester, [worker])
    assert {call.code for call in calls.values()} == {"success"}
    caller.ledger.assert_balances([worker])
    assert_broker_balances(broker)
    assert worker.stderr.count("connected to") == 1
    assert "the clock was set by" in broker.stderr
    broker.terminate()
    await asyncio.to_thread(broker.wait)
    # Proof that the clock has moved at all: the last lines are an hour off, give or take midnight.
    moved_s = (last_logged_at(broker.stderr) - started_at).total_seconds()
    assert (moved_s - ahead_s) % (24 * HOUR_S) < 60
