"""A requester that makes workers fail on purpose, or by mistake: they go on working for everyone else."""

from typing import Any

import pytest

from tests.faults.caller import calling, ended
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Programs

NAMES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("command", "data", "fields"),
    [
        ("nap", {"seconds": 1.0}, {"timeout": 0.02, "target": "a"}),
        ("hang", {}, {"timeout": 0.02, "target": "a"}),
        ("divide", {"by": 0}, {"target": "a"}),
        ("divide", {"by": 0}, {"affinity": "always the same"}),
        ("divide", {"by": 0}, {}),
    ],
)
async def test_a_requester_alone_has_no_healthy_worker_ejected(
    programs: Programs, command: str, data: dict[str, Any], fields: dict[str, Any]
) -> None:
    broker = programs.start_broker(
        "--strategy", "consistent_hash" if "affinity" in fields else "least_loaded"
    )
    workers = [start_worker(programs, broker.worker_url, name, "--concurrency", "10") for name in NAMES]
    wait_for_workers(broker, *NAMES)
    async with calling(broker.requester_url) as caller:
        # They have a good past, at which the failures do not look like chance.
        good = [await caller.send("divide", {"by": 1}, target=NAMES[number % 3]) for number in range(300)]
        good += [await caller.send("nap", {"seconds": 0.01}, target=name) for name in NAMES for _ in range(9)]
        assert {response["success"] for response in await ended(good)} == {True}
        for _ in range(50):
            response = await caller.call(command, data, **fields)
            assert response["code"] in {"timeout", "handler_error"}
        assert broker.status()["counts"]["ejected"] == 0
        wait_for_workers(broker, *NAMES)
    caller.ledger.assert_balances(workers)
