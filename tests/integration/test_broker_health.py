"""Workers that are sick, drained or half dead: what operators and requesters see of it, over real sockets."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.peers import connected, eventually, serving, unique
from tests.processes import PATIENCE_S, Broker, Programs

PLAIN_WORKER = str(Path(__file__).with_name("plain_worker.py"))


def post(url: str, body: str, content_type: str = "application/json") -> tuple[int, Any]:
    """Status and decoded JSON body of the answer."""
    request = urllib.request.Request(url, body.encode(), {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def drain(broker: Broker, worker_id: str, body: str = "{}", **options: str) -> tuple[int, Any]:
    return post(f"{broker.http_url}/api/workers/{worker_id}/drain", body, **options)


async def test_a_black_hole_is_ejected_and_reported(programs: Programs) -> None:
    broker = programs.start_broker()

    def fail(_: Any) -> None:
        raise ValueError("disk full")

    async with (
        serving(broker.worker_url, {"c": lambda _: "done"}, name="good", concurrency=1),
        serving(broker.worker_url, {"c": fail}, name="hole", concurrency=1),
        connected(broker.requester_url) as requester,
    ):
        responses = [await requester.call("c", {}) for _ in range(40)]
        failed = [response for response in responses if not response["success"]]
        assert len(failed) == 5, "five in a row, and no more"
        assert {response["processed_by"] for response in failed} == {"hole"}
        row = broker.workers()["hole"]
        assert (row["state"], row["reason"]) == ("ejected", "5 failures in a row: disk full")
        ejected = "worker hole is ejected (was healthy): 5 failures in a row\n"
        await eventually(lambda: ejected in broker.stderr, "the ejection is logged")
        assert "disk full" not in broker.stderr, "a handler's own words may hold data"
        assert broker.status()["counts"]["ejected"] == 1
        metrics = broker.get("/metrics")[1]
        assert 'taskferry_workers{state="ejected"} 1' in metrics
        assert 'taskferry_ejections_total{cause="failures"} 1' in metrics


async def test_an_operator_drains_a_worker_and_undoes_it(programs: Programs) -> None:
    broker = programs.start_broker()
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("rack/7", "c", instance="one")
        await requester.send({"request_id": "running", "command": "c"})
        assignment = await worker.receive_assignment()
        status, row = await asyncio.to_thread(drain, broker, "rack/7")
        assert (status, row["state"], row["in_flight"]) == (200, "draining", 1)
        assert row["reason"] == "drained by an operator"
        drained = "worker rack/7 was drained by an operator; it is draining"
        await eventually(lambda: drained in broker.stderr, "the drain is logged")
        assert (await requester.call("c", {}))["code"] == "no_available_workers"
        await worker.respond(assignment, "finished")
        assert (await requester.receive())["data"] == "finished"
        async with connected(broker.worker_url) as again:
            await again.join("rack/7", "c", instance="one")
            assert (await requester.call("c", {}))["code"] == "no_available_workers", (
                "also when it reconnects"
            )
            status, row = await asyncio.to_thread(drain, broker, "rack/7", '{"undo": true}')
            assert (status, row["state"], row["reason"]) == (200, "healthy", None)
            await requester.send({"request_id": "next", "command": "c"})
            await again.respond(await again.receive_assignment(), "back")
            assert (await requester.receive())["data"] == "back"


async def test_a_bad_drain_request_gets_an_error_that_says_why(shared_broker: Broker) -> None:
    assert drain(shared_broker, "nobody") == (404, {"error": "no worker 'nobody' is connected"})
    status, answer = drain(shared_broker, "nobody", "{}", content_type="text/plain")
    assert (status, answer) == (415, {"error": "content-type: application/json is needed"})
    assert drain(shared_broker, "nobody", "hello")[0] == 400
    assert drain(shared_broker, "nobody", '{"undo": 1}')[0] == 400
    assert drain(shared_broker, "nobody", '{"undo": "' + "x" * 100_000 + '"}')[0] == 400


async def test_the_api_explains_why_a_request_waits(shared_broker: Broker) -> None:
    command, name, other = unique("c"), unique("w"), unique("w")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.worker_url) as without_gpu,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command, labels={"gpu": "yes"})
        await without_gpu.join(other, command)
        ids = [unique("request/") for _ in range(3)]
        for request_id in ids:
            message = {"request_id": request_id, "command": command, "target": {"gpu": "yes"}, "priority": 7}
            await requester.send(message)
        assignment = await worker.receive_assignment()

        def view(request_id: str) -> Any:
            status, text = shared_broker.get(f"/api/requests/{request_id}")
            assert status == 200
            (found,) = json.loads(text)["requests"]
            return found

        await eventually(lambda: shared_broker.workers()[name]["in_flight"] == 1, "the first one runs")
        running, waiting = view(ids[0]), view(ids[2])
        assert (running["state"], running["position"]) == ("assigned", None)
        assert running["assignments"][0]["worker_id"] == name
        assert (waiting["state"], waiting["position"], waiting["position_is_exact"]) == ("waiting", 2, True)
        assert (waiting["priority"], waiting["target"]) == (7, {"gpu": "yes"})
        assert waiting["waits_for"].startswith("for a free slot at its worker")
        reasons = {row["worker_id"]: row["reason"] for row in waiting["workers"]}
        assert reasons == {name: "1 of 1 slots taken", other: "labels do not match: no gpu"}
        for _ in ids:
            await worker.respond(assignment, None)
            await requester.receive()
            if _ is not ids[-1]:
                assignment = await worker.receive_assignment()
        status, text = shared_broker.get(f"/api/requests/{ids[0]}")
        assert (status, "is in flight" in text) == (404, True)


async def test_a_silent_link_gets_nothing_if_there_are_others_and_is_trusted_again_when_it_speaks(
    programs: Programs, broker: Broker
) -> None:
    frozen = programs.start(PLAIN_WORKER, broker.worker_url, "frozen", "10")
    frozen.wait_for_stdout("joined")
    async with (
        serving(broker.worker_url, {"echo": lambda _: None}, name="other"),
        connected(broker.requester_url) as requester,
    ):
        frozen.freeze()
        await eventually(lambda: broker.workers()["frozen"]["state"] == "suspect", "its silence is detected")
        assert broker.workers()["frozen"]["reason"] == "its link is silent"
        for _ in range(5):
            assert (await requester.call("echo", {"message": "x"}))["processed_by"] == "other"
        frozen.thaw()
        await eventually(lambda: broker.workers()["frozen"]["state"] == "healthy", "it sends again")


async def test_a_worker_that_does_not_answer_its_canary_gets_nothing(broker: Broker) -> None:
    async with (
        connected(broker.worker_url) as deaf,
        serving(broker.worker_url, {"c": lambda _: None, "sing": lambda _: None}, name="good", canary="sing"),
        connected(broker.requester_url) as requester,
    ):
        # It answers pings, because its library does that, and reads messages; it does not work.
        await deaf.join("deaf", "c", "sing", canary="sing")
        canary = await deaf.receive_assignment()
        assert (canary["data"]["action"], canary["data"]["params"]) == ("sing", {})
        assert canary["data"]["request_id"] == "canary"
        assert broker.workers()["deaf"]["state"] == "joining"
        assert broker.workers()["good"]["state"] == "healthy"
        for _ in range(5):
            assert (await requester.call("c", {}))["processed_by"] == "good"
        await eventually(lambda: broker.workers()["deaf"]["state"] == "ejected", "its canary is overdue")
        assert broker.workers()["deaf"]["reason"] == "no answer to its canary for 5 s"


async def test_a_canary_must_be_one_of_the_workers_commands(shared_broker: Broker) -> None:
    async with connected(shared_broker.worker_url) as worker:
        answer = await worker.join(unique("w"), "c", canary="other")
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "bad_message"
        assert "canary" in answer["data"]["error"]
        assert (await worker.join(unique("w"), "c", canary="c"))["type"] == "connect"


async def test_the_longest_waiting_are_listed(broker: Broker) -> None:
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        for number in range(30):
            await requester.send({"request_id": f"r{number}", "command": "c"})
        await eventually(lambda: broker.status()["queued_count"] == 29, "all but one wait")
        status, text = broker.get("/api/requests")
        view = json.loads(text)
        assert (status, view["queued_count"]) == (200, 29)
        assert [row["request_id"] for row in view["requests"]] == [f"r{number}" for number in range(1, 21)]
        assert view["requests"][0]["waits_for"].startswith("for a free slot at its worker")
