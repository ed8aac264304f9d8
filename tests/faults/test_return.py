"""Five thousand clients that come back at once, to a broker that was killed and started again."""

import asyncio
import time

from tests.faults import returning
from tests.faults.caller import Pulse, calling
from tests.faults.ledger import assert_broker_balances
from tests.faults.starting import ROOT, lasting_ports, start_worker
from tests.processes import Programs, wait_until

CLIENTS_COUNT = 5000
CLIENT_SIZE_BYTES_MAX = 24 * 1024
"""What one idle connection may cost the broker in memory."""
BACK_S_MAX = 30.0
"""For all of them, on two cores that are also theirs. Most of it is the clients' own work."""
FIRST_S_MAX = 5.0
OTHERS_P99_S_MAX = 0.1


async def test_five_thousand_clients_that_come_back_at_once_are_all_served(programs: Programs) -> None:
    ports = lasting_ports()
    broker = programs.start_broker(*ports)
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    clients = programs.start(
        *(returning.PATH, broker.requester_url, str(CLIENTS_COUNT)), environment={"PYTHONPATH": str(ROOT)}
    )
    await asyncio.to_thread(clients.wait_for_stdout, "all answered 1\n", 60)
    broker.kill()
    await asyncio.to_thread(broker.wait)
    again = await asyncio.to_thread(programs.start_broker, *ports)
    began_at, rss_bytes = time.monotonic(), again.rss_bytes()
    await asyncio.to_thread(wait_until, lambda: "w" in again.workers(), "the worker is back", FIRST_S_MAX)
    await asyncio.to_thread(clients.wait_for_stdout, "all answered 2\n", 60)
    assert time.monotonic() - began_at < BACK_S_MAX
    assert again.status()["requester_count"] == CLIENTS_COUNT
    assert again.rss_bytes() - rss_bytes < CLIENTS_COUNT * CLIENT_SIZE_BYTES_MAX
    async with calling(again.requester_url) as caller:
        pulse = Pulse(caller, "echo", {"message": "x"})
        await pulse.beat(1.0)
        assert pulse.quantile_s(0.99) < OTHERS_P99_S_MAX
    clients.kill()
    await asyncio.to_thread(wait_until, lambda: again.status()["requester_count"] == 0, "all have left")
    assert clients.stderr == ""
    assert "Traceback" not in worker.stderr
    assert_broker_balances(again)
