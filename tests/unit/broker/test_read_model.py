"""What can be read of a broker is what has happened to it, at the moment at which it is read."""

import msgspec

from tests.unit.broker.shell import Peer, Shell, open_shell
from tests.unit.transport.waiting import until


async def request(shell: Shell, requester: Peer, worker: Peer, *, succeeds: bool) -> None:
    """One request for `work`, from its submission to its response."""
    requester.send({"command": "work"})
    msg_id = (await worker.receive())["msg_id"]
    result = {"success": True, "result": 1} if succeeds else {"success": False, "error": "no"}
    worker.send({"type": "response", "msg_id": msg_id, "data": result})
    assert (await requester.receive())["success"] is succeeds


async def test_totals_and_outcomes_count_what_has_ended() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(name="w1"), await shell.requester()
        await request(shell, requester, worker, succeeds=True)
        await request(shell, requester, worker, succeeds=False)
        requester.send({"command": "unserved"})
        assert (await requester.receive())["code"] == "no_available_workers"
        requester.send({"command": 7})
        assert (await requester.receive())["code"] == "bad_request"
        totals, status = shell.read_model.totals(), await shell.read_model.status()
        assert (totals.submitted_count, totals.unserved_count, totals.in_flight_count) == (3, 1, 0)
        assert totals.refused == status.refused == {"bad_request": 1}
        assert status.outcomes == {"success": 1, "handler_error": 1, "no_available_workers": 1}
        (command,) = status.commands
        assert command.outcomes == {"success": 1, "handler_error": 1}
        assert (command.command, command.worker_count, command.queued_count) == ("work", 1, 0)
        assert (status.state, status.worker_count, status.requester_count) == ("serving", 1, 1)
        shell.core.drain()
        assert shell.read_model.state == "draining"
        assert (await shell.read_model.status()).state == "draining"


async def test_what_waits_and_what_runs_is_read_as_it_is_now() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(name="w1", concurrency=1), await shell.requester()
        for number in range(3):
            requester.send({"request_id": f"r{number}", "command": "work", "data": "xx"})
        await until(lambda: shell.core.queue.count == 2)
        totals = shell.read_model.totals()
        assert (totals.in_flight_count, totals.queued_count, totals.queue_size_bytes) == (3, 2, 8)
        assert [row["request_id"] for row in shell.read_model.longest_waiting()] == ["r1", "r2"]
        assert [row["state"] for row in shell.read_model.requests("r0")] == ["assigned"]
        assert shell.read_model.requests("r3") == []
        subjects = shell.read_model.subjects()
        (command,) = subjects.commands
        assert (command.name, command.workers_count, command.slots_count) == ("work", 1, 1)
        assert command.queued_count == 2
        worker.send({"type": "response", "msg_id": "1", "data": {"success": True, "result": 1}})
        assert (await requester.receive())["request_id"] == "r0"
        assert command.queued_count == 1
        assert command.outcomes == {"success": 1}
        assert [load.in_flight_count for load in subjects.workers] == [1]


async def test_a_worker_is_one_row_with_its_peer() -> None:
    async with open_shell() as shell:
        await shell.worker(name="w1", concurrency=2, labels={"zone": "a"}, weight=2.5)
        await shell.worker(name="w2")
        row = shell.read_model.worker("w1")
        assert row is not None
        assert (row.worker_id, row.state, row.concurrency, row.weight) == ("w1", "healthy", 2, 2.5)
        assert row.labels == {"zone": "a"}
        assert row.peer is not None
        assert row.peer.startswith("127.0.0.1:")
        assert shell.read_model.worker("w3") is None
        rows = shell.read_model.workers()
        assert [row.worker_id for row in rows] == ["w1", "w2"]
        assert len({row.peer for row in rows}) == 2
        assert msgspec.json.decode(msgspec.json.encode(rows))[0]["labels"] == {"zone": "a"}
        assert shell.read_model.worker_states()["healthy"] == 2
        assert "gone" not in shell.read_model.worker_states()


async def test_ports_have_their_open_connections_and_counts() -> None:
    async with open_shell() as shell:
        await shell.worker()
        workers, requesters = shell.read_model.ports()
        assert (workers.name, workers.open_count, workers.counts.received_count) == ("worker", 1, 1)
        assert (requesters.name, requesters.open_count) == ("requester", 0)
