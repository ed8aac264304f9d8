"""Requests with a target, and hedges of slow requests, over real sockets."""

import asyncio
from typing import Any

from tests.integration.peers import connected, serving, unique
from tests.processes import Broker, Programs


async def test_a_target_is_a_worker_or_labels_and_any_of_several_values(shared_broker: Broker) -> None:
    command = unique("where")
    first, second, third = unique("w"), unique("w"), unique("w")
    handlers = {command: lambda _: None}
    url = shared_broker.worker_url
    async with (
        serving(url, handlers, name=first, labels={"gpu": "yes", "zone": "a"}),
        serving(url, handlers, name=second, labels={"gpu": "yes", "zone": "b"}, encoding="msgpack"),
        serving(url, handlers, name=third, labels={"zone": "c"}),
        connected(shared_broker.requester_url) as requester,
        connected(shared_broker.requester_url, "msgpack") as packed,
    ):

        async def ran_at(target: Any, peer: Any = requester) -> set[str]:
            return {(await peer.call(command, {}, target=target))["processed_by"] for _ in range(6)}

        assert await ran_at(second) == {second}
        assert await ran_at({"gpu": "yes"}) == {first, second}
        assert await ran_at({"zone": ["a", "c"]}) == {first, third}
        assert await ran_at({"gpu": "yes", "zone": ["b", "c"]}, packed) == {second}
        assert await ran_at(None) == {first, second, third}
        response = await requester.call(command, {}, target={"gpu": "no", "zone": ["a", "x"]})
        assert response["code"] == "no_available_workers"
        assert response["error"] == (
            f"No available workers: no worker that serves {command} has the labels gpu=no zone=a|x; start one that has"
        )
        assert response["delivery"] == "not_delivered"
        response = await requester.call(command, {}, target="not-there")
        assert response["error"] == (
            "No available workers: no worker 'not-there' is connected; start it, or name another one"
        )


async def test_requests_that_wait_for_one_worker_do_not_block_others(shared_broker: Broker) -> None:
    command, busy, other = unique("c"), unique("busy"), unique("other")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
        serving(shared_broker.worker_url, {command: lambda _: "other"}, name=other, concurrency=1),
    ):
        await worker.join(busy, command, concurrency=1)
        await requester.send({"request_id": "1", "command": command, "target": busy})
        assignment = await worker.receive_assignment()
        await requester.send({"request_id": "2", "command": command, "target": busy})
        assert (await requester.call(command, {}))["processed_by"] == other
        await worker.respond(assignment, None)
        assert (await requester.receive())["request_id"] == "1"
        await worker.respond(await worker.receive_assignment(), None)
        assert (await requester.receive())["request_id"] == "2"


async def test_a_hedge_answers_if_the_first_worker_hangs(programs: Programs) -> None:
    broker = programs.start_broker()
    async with (
        connected(broker.worker_url) as hanging,
        connected(broker.requester_url) as requester,
    ):
        await hanging.join("hanging", "c", concurrency=5)
        await requester.send({"request_id": "r", "command": "c", "idempotent": True, "hedge": 0.05})
        first = await hanging.receive_assignment()
        async with serving(broker.worker_url, {"c": lambda _: "quick"}, name="quick"):
            response = await requester.receive()
            assert (response["data"], response["processed_by"]) == ("quick", "quick")
            cancel = await hanging.receive()
            assert (cancel["type"], cancel["msg_id"]) == ("cancel", first["msg_id"])
            assert cancel["data"] == {"reason": "answered"}
            counts = broker.status()["counts"]
            assert (counts["hedged"], counts["hedges_won"]) == (1, 1)
            # The loser's late answer is dropped, and frees its slot.
            await hanging.respond(first, "late")
            response = await requester.call("c", {}, idempotent=True)
            assert response["data"] == "quick" or (await hanging.receive_assignment())
    assert "Traceback" not in broker.stderr


async def test_a_hedge_needs_an_idempotent_command(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url) as requester:
        response = await requester.call("c", {}, hedge="p95")
        assert response["code"] == "bad_request"
        assert response["error"].startswith("hedge: needs idempotent: true")


async def test_hedges_stay_within_their_budget(programs: Programs) -> None:
    broker = programs.start_broker()

    async def slow(_: Any) -> None:
        await asyncio.sleep(0.2)

    async with (
        serving(broker.worker_url, {"c": slow}, name="a", concurrency=1000),
        serving(broker.worker_url, {"c": slow}, name="b", concurrency=1000),
        connected(broker.requester_url) as requester,
    ):
        for number in range(400):
            message = {"request_id": f"r{number}", "command": "c", "idempotent": True, "hedge": 0.02}
            await requester.send(message)
        responses = [await requester.receive() for _ in range(400)]
        assert all(response["success"] for response in responses)
        assert 1 <= broker.status()["counts"]["hedged"] <= 10 + 0.05 * 400
