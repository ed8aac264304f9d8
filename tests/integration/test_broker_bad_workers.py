"""Whatever a worker sends: it gets an error that says what was wrong, it cannot answer for others, and requests end."""

import asyncio
import json
from typing import Any

import msgpack
import pytest

from tests.integration.peers import Peer, connected, eventually, serving, unique
from tests.processes import Broker

LONG = "x" * 129
LONGEST_NAMES = {"commands": ["c" * 128], "labels": {str(number): "x" * 128 for number in range(32)}}

BAD_AFTER_CONNECT: list[tuple[str, str | None, str, str]] = [
    # what is sent, the msg_id of the answer, its code, its text
    ("nonsense", None, "bad_message", "not valid JSON: "),
    ("[]", None, "bad_message", "message: Expected `object`, got `array`"),
    ("{}", None, "bad_message", "type: missing"),
    ('{"type":"unheard-of","msg_id":"m"}', "m", "bad_message", "type: Invalid value 'unheard-of'"),
    ('{"type":"response"}', None, "bad_message", "msg_id: missing"),
    (
        '{"type":"response","msg_id":1,"data":{"success":true}}',
        None,
        "bad_message",
        "msg_id: Expected `str`, got `int`",
    ),
    ('{"type":"response","msg_id":"m"}', "m", "bad_message", "data: missing"),
    ('{"type":"response","msg_id":"m","data":{}}', "m", "bad_message", "data.success: missing"),
    (
        '{"type":"response","msg_id":"m","data":{"success":"yes"}}',
        "m",
        "bad_message",
        "data.success: Expected `bool`, got `str`",
    ),
    (
        f'{{"type":"response","msg_id":"{LONG}","data":{{"success":true}}}}',
        None,
        "bad_message",
        "msg_id: Expected `str` of length <= 128",
    ),
    (
        '{"type":"response","msg_id":"never-given","data":{"success":true}}',
        "never-given",
        "unknown_assignment",
        "msg_id: no assignment 'never-given' at this worker",
    ),
    ('{"type":"error","msg_id":"m"}', "m", "bad_message", "data: missing"),
    (
        '{"type":"connect","msg_id":"m","data":{"commands":["c"]}}',
        "m",
        "bad_message",
        "type: connect was sent already on this connection",
    ),
]
BAD_HELLOS: list[tuple[Any, str]] = [
    ({}, "data.commands: missing"),
    ({"commands": []}, "data.commands: Expected `array` of length >= 1"),
    (
        {"commands": [f"c{number}" for number in range(1001)]},
        "data.commands: Expected `array` of length <= 1000",
    ),
    ({"commands": ["c", 7]}, "data.commands[1]: Expected `str`, got `int`"),
    ({"commands": ["a b"]}, "data.commands[0]: only letters, digits and"),
    ({"commands": [LONG]}, "data.commands[0]: Expected `str` of length <= 128"),
    ({"commands": ["c"], "name": ""}, "data.name: Expected `str` of length >= 1"),
    ({"commands": ["c"], "name": LONG}, "data.name: Expected `str` of length <= 128"),
    ({"commands": ["c"], "name": "a\nb"}, "data.name: only letters, digits and"),
    ({"commands": ["c"], "instance": LONG}, "data.instance: Expected `str` of length <= 128"),
    ({"commands": ["c"], "concurrency": 0}, "data.concurrency: Expected `int` >= 1"),
    ({"commands": ["c"], "concurrency": 10_001}, "data.concurrency: Expected `int` <= 10000"),
    ({"commands": ["c"], "weight": 0.009}, "data.weight: Expected `float` >= 0.01"),
    ({"commands": ["c"], "weight": 100.1}, "data.weight: Expected `float` <= 100.0"),
    (
        {"commands": ["c"], "labels": {str(number): "" for number in range(33)}},
        "data.labels: Expected `object` of length <= 32",
    ),
    ({"commands": ["c"], "labels": {"gpu": True}}, "data.labels[...]: Expected `str`, got `bool`"),
    ({"commands": ["c"], "sdk": LONG}, "data.sdk: Expected `str` of length <= 128"),
]


def assert_error(message: Any, msg_id: str | None, code: str, text: str) -> None:
    """`text` is the beginning of the error's."""
    assert (message["type"], message["msg_id"], message["data"]["code"]) == ("error", msg_id, code)
    assert message["data"]["error"].startswith(text)


async def assert_serves(broker: Broker, worker: Peer, command: str) -> None:
    async with connected(broker.requester_url) as requester:
        call = asyncio.create_task(requester.call(command, 1))
        await worker.respond(await worker.receive_assignment(), "served")
        assert (await call)["data"] == "served"


async def test_a_bad_message_is_answered_and_the_worker_continues(shared_broker: Broker) -> None:
    command = unique("c")
    async with connected(shared_broker.worker_url) as worker:
        await worker.join(unique("worker"), command)
        for payload, msg_id, code, text in BAD_AFTER_CONNECT:
            await worker.send_raw(payload)
            assert_error(await worker.receive(), msg_id, code, text)
        await worker.send_raw(b"{}")
        assert_error(
            await worker.receive(), None, "bad_message", "message: taskferry.v1.json takes text frames only"
        )
        await assert_serves(shared_broker, worker, command)


async def test_a_bad_message_in_msgpack_is_answered_too(shared_broker: Broker) -> None:
    command = unique("c")
    async with connected(shared_broker.worker_url, "msgpack") as worker:
        await worker.join(unique("worker"), command)
        await worker.send_raw(b"\xc1")
        assert_error(await worker.receive(), None, "bad_message", "not valid MessagePack: ")
        await worker.send_raw(msgpack.packb({"type": "response", "msg_id": "m"}))
        assert_error(await worker.receive(), "m", "bad_message", "data: missing")
        await worker.send_raw("{}")
        text = "message: taskferry.v1.msgpack takes binary frames only"
        assert_error(await worker.receive(), None, "bad_message", text)
        await assert_serves(shared_broker, worker, command)


async def test_a_bad_connect_gets_its_field_and_bound_and_may_be_repeated(shared_broker: Broker) -> None:
    command = unique("c")
    async with connected(shared_broker.worker_url) as worker:
        for hello, text in BAD_HELLOS:
            await worker.send({"type": "connect", "msg_id": "hello", "data": hello})
            assert_error(await worker.receive(), "hello", "bad_message", text)
        assert (await worker.join(unique("worker"), command))["type"] == "connect"
        await assert_serves(shared_broker, worker, command)


@pytest.mark.parametrize(
    "hello",
    [
        {"commands": [f"bound-{number}" for number in range(1000)]},
        {**LONGEST_NAMES, "instance": "i" * 128, "sdk": "s" * 128},
        {"commands": ["c"], "concurrency": 10_000, "weight": 0.01},
        {"commands": ["c"], "concurrency": 1, "weight": 100},
        {"commands": ["c", "c"], "unknown": {"field": 1}},
    ],
)
async def test_a_connect_within_its_bounds_is_accepted(shared_broker: Broker, hello: Any) -> None:
    name = unique("worker")
    async with connected(shared_broker.worker_url) as worker:
        await worker.send({"type": "connect", "data": {"name": name, **hello}})
        assert (await worker.receive())["type"] == "connect"
        row = shared_broker.worker(name)
        assert row["commands"] == list(dict.fromkeys(hello["commands"]))
    await eventually(lambda: name not in shared_broker.workers(), "the worker has left")


@pytest.mark.parametrize(
    "first", ['{"type":"heartbeat"}', '{"type":"response","msg_id":"1","data":{"success":true}}']
)
async def test_the_first_message_of_a_worker_must_be_connect(shared_broker: Broker, first: str) -> None:
    text = "type: the first message of a worker must be connect"
    async with connected(shared_broker.worker_url) as worker:
        await worker.send_raw(first)
        assert (await worker.receive())["data"] == {"code": "bad_message", "error": text}
        assert await worker.wait_closed() == (1008, text)


async def test_a_rejected_worker_is_not_registered_while_its_connection_closes(shared_broker: Broker) -> None:
    name = unique("worker")
    async with connected(shared_broker.worker_url) as worker:
        # Sent together, so that the second message arrives before the close for the first has completed.
        hello = json.dumps({"type": "connect", "data": {"name": name, "commands": ["c"]}})
        await asyncio.gather(worker.send_raw('{"type":"heartbeat"}'), worker.send_raw(hello))
        answers = []
        while (message := await worker.receive_or_close()) is not None:
            answers.append(message["type"])
        assert answers == ["error"]
        assert worker.connection.close_code == 1008
    assert f"worker {name} joined" not in shared_broker.stderr


async def test_a_worker_id_is_unique(shared_broker: Broker) -> None:
    command, name = unique("c"), unique("worker")
    text = f"name: another worker is connected as {name!r}"
    async with connected(shared_broker.worker_url) as first, connected(shared_broker.worker_url) as second:
        await first.join(name, command, instance="one")
        answer = await second.join(name, command, instance="two")
        assert answer["data"] == {"code": "worker_id_taken", "error": text}
        assert await second.wait_closed() == (1008, text)
        await assert_serves(shared_broker, first, command)


async def test_the_same_worker_replaces_its_old_connection(shared_broker: Broker) -> None:
    command, name = unique("c"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as old,
        connected(shared_broker.worker_url) as new,
        connected(shared_broker.requester_url) as requester,
    ):
        await old.join(name, command, instance="one")
        lost = asyncio.create_task(requester.call(command, request_id="lost"))
        await old.receive_assignment()
        assert (await new.join(name, command, instance="one"))["data"]["worker_id"] == name
        response = await lost
        assert (response["code"], response["processed_by"]) == ("worker_lost", name)
        assert (await old.wait_closed())[0] == 1006, "dropped: this link is dead, the worker itself says so"
        assert name in shared_broker.workers()
        await assert_serves(shared_broker, new, command)


async def test_a_worker_cannot_answer_for_another(shared_broker: Broker) -> None:
    command = unique("c")
    async with (
        connected(shared_broker.worker_url) as honest,
        connected(shared_broker.worker_url) as liar,
        connected(shared_broker.requester_url) as requester,
    ):
        await honest.join(unique("honest"), command)
        await liar.join(unique("liar"), unique("other"))
        call = asyncio.create_task(requester.call(command))
        assignment = await honest.receive_assignment()
        await liar.respond(assignment, "a lie")
        msg_id = assignment["msg_id"]
        assert_error(
            await liar.receive(),
            msg_id,
            "unknown_assignment",
            f"msg_id: no assignment '{msg_id}' at this worker",
        )
        assert not call.done()
        await honest.respond(assignment, "the truth")
        assert (await call)["data"] == "the truth"


async def test_an_assignment_can_be_answered_once(shared_broker: Broker) -> None:
    command = unique("c")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(unique("worker"), command)
        call = asyncio.create_task(requester.call(command))
        assignment = await worker.receive_assignment()
        await worker.respond(assignment, "first")
        await worker.respond(assignment, "second")
        assert (await call)["data"] == "first"
        assert_error(
            await worker.receive(), assignment["msg_id"], "unknown_assignment", "msg_id: no assignment"
        )
        await assert_serves(shared_broker, worker, command)


async def test_a_worker_cannot_send_codes_of_the_broker(shared_broker: Broker) -> None:
    command = unique("c")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(unique("worker"), command)
        call = asyncio.create_task(requester.call(command))
        claim = {"success": False, "error": "x" * 5000, "code": "no_available_workers"}
        await worker.respond_with(await worker.receive_assignment(), claim)
        response = await call
        assert (response["code"], response["error"]) == ("handler_error", "x" * 4096)


async def test_success_without_a_result_is_null(shared_broker: Broker) -> None:
    command = unique("c")
    for encoding in ("json", "msgpack"):
        async with (
            connected(shared_broker.worker_url) as worker,
            connected(shared_broker.requester_url, encoding) as requester,
        ):
            await worker.join(unique("worker"), command)
            call = asyncio.create_task(requester.call(command))
            await worker.respond_with(await worker.receive_assignment(), {"success": True})
            response = await call
            assert (response["success"], response["data"], response["error"]) == (True, None, None)


async def test_a_worker_that_leaves_gracefully_finishes_its_assignments(shared_broker: Broker) -> None:
    command = unique("c")
    async with (
        connected(shared_broker.worker_url) as leaving,
        connected(shared_broker.requester_url) as requester,
    ):
        await leaving.join(unique("leaving"), command, concurrency=2)
        call = asyncio.create_task(requester.call(command))
        assignment = await leaving.receive_assignment()
        await leaving.send({"type": "disconnect", "msg_id": "bye", "data": {"reason": "an update"}})
        answer = await leaving.receive()
        assert (answer["type"], answer["msg_id"]) == ("disconnect", "bye")
        async with connected(shared_broker.requester_url) as other:
            assert (await other.call(command))["code"] == "no_available_workers"
        await leaving.respond(assignment, "done anyway")
        assert (await call)["data"] == "done anyway"


async def test_heartbeats_are_answered_and_other_messages_accepted(shared_broker: Broker) -> None:
    command = unique("c")
    async with connected(shared_broker.worker_url) as worker:
        await worker.join(unique("worker"), command)
        await worker.send({"type": "notification", "data": {"progress": 0.5}})
        await worker.send({"type": "custom", "data": 7})
        await worker.send({"type": "error", "data": {"code": "bad_message", "error": "what was that?"}})
        await worker.send({"type": "heartbeat", "msg_id": "beat"})
        answer = await worker.receive()
        assert (answer["type"], answer["msg_id"]) == ("heartbeat", "beat")
        await assert_serves(shared_broker, worker, command)


async def test_a_message_over_the_bound_closes_only_that_workers_connection(
    shared_broker: Broker,
) -> None:
    command, name = unique("c"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command)
        call = asyncio.create_task(requester.call(command))
        await worker.receive_assignment()
        await worker.send_raw("x" * (1024 * 1024 + 1))
        assert (await worker.wait_closed())[0] == 1009
        response = await call
        assert (response["code"], response["processed_by"]) == ("worker_lost", name)
        async with serving(shared_broker.worker_url, {command: lambda _: "another one"}):
            assert (await requester.call(command))["data"] == "another one"


async def test_a_worker_that_sends_only_invalid_messages_does_not_fill_the_log(shared_broker: Broker) -> None:
    name = unique("worker")
    async with connected(shared_broker.worker_url) as worker:
        await worker.join(name, unique("c"))
        for _ in range(15):
            await worker.send_raw("nonsense")
            await worker.receive()
    text = f"worker {name} sent a bad message: not valid JSON"
    await eventually(lambda: text in shared_broker.stderr, "the first is logged")
    logged = [line for line in shared_broker.stderr.splitlines() if text in line]
    assert len(logged) == 1, "the others are counted, and logged as a sum ten seconds later"
