"""The API port of a real broker, as a browser sees it: any WebSocket client that sends an Origin."""

import asyncio
import http.client
import json
import signal
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import websockets
from taskferry.broker.access.pace import REFUSED_S_MAX
from taskferry.requester import Requester
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.integration.peers import Peer, eventually
from tests.processes import PATIENCE_S, Broker, Programs, wait_until
from tests.unit.broker.access_files import access_file, token_of

PAGE = Origin("http://localhost:3000")


@asynccontextmanager
async def page(broker: Broker, path: str = "/ws", **options: Any) -> AsyncIterator[Peer]:
    url = broker.api_url.replace("http", "ws", 1) + path
    async with websockets.connect(url, **{"origin": PAGE, "proxy": None, **options}) as connection:
        yield Peer(connection, "json")


async def ask(peer: Peer, **message: Any) -> Any:
    await peer.send(message)
    return await peer.receive()


@pytest.mark.parametrize("path", ["/ws", "/ws/task", "/ws?client_id=desk&topics=task:list"])
async def test_a_page_opens_it_and_is_answered(shared_broker: Broker, path: str) -> None:
    async with page(shared_broker, path) as peer:
        await peer.send({"type": "ping", "id": "p1"})
        while (pong := await peer.receive())["type"] == "subscribed":
            pass
        assert {**pong, "timestamp": 0} == {"type": "pong", "id": "p1", "timestamp": 0}
        assert pong["timestamp"] > 1_700_000_000_000
        unknown = await ask(peer, type="dance", id="d1")
        assert (unknown["type"], unknown["id"]) == ("error", "d1")
        assert unknown["error"] == {
            "code": "UNKNOWN_MESSAGE_TYPE",
            "message": "type: nothing handles 'dance'",
            "details": {"type": "dance"},
        }
        await peer.send({"type": "pong"})
        for raw, text in (
            ("hello", "not valid JSON: "),
            ("{}", "type: missing"),
            ('{"type": "ping", "id": 7}', "id: "),
            (b"{}", "message: this port takes text frames only"),
        ):
            await peer.send_raw(raw)
            error = await peer.receive()
            assert (error["error"]["code"], error["error"]["message"][: len(text)]) == ("bad_request", text)


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/", {}, 404),
        ("/ws/tasks", {}, 404),
        ("/ws?client_id=", {}, 400),
        ("/ws", {"origin": Origin("https://evil.example")}, 403),
        ("/ws", {"additional_headers": {"Host": "evil.example"}}, 403),
        ("/ws", {"subprotocols": [Subprotocol("taskferry.v1.msgpack")]}, 400),
    ],
)
async def test_what_is_refused(
    shared_broker: Broker, path: str, options: dict[str, Any], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with page(shared_broker, path, **options):
            pass
    assert refused.value.response.status_code == status


async def test_json_may_be_asked_for_by_name(shared_broker: Broker) -> None:
    offered = [Subprotocol("taskferry.v1.msgpack"), Subprotocol("taskferry.v1.json")]
    async with page(shared_broker, subprotocols=offered) as peer:
        assert peer.connection.subprotocol == "taskferry.v1.json"
        assert (await ask(peer, type="ping"))["type"] == "pong"


def status_of(url: str, method: str, path: str, body: str | None = None) -> int:
    """Of the answer to a plain HTTP request."""
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_S)
    with closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status


def kick(broker: Broker, connection_id: str) -> None:
    assert status_of(broker.http_url, "POST", f"/api/connections/{connection_id}/kick", "{}") == 200


def test_plain_http_is_told_what_this_port_is(shared_broker: Broker) -> None:
    assert status_of(shared_broker.api_url, "GET", "/ws") == 426


async def test_it_is_listed_with_what_it_says_and_kicked(broker: Broker) -> None:
    async with page(broker, "/ws?client_id=desk") as peer:
        answer = await ask(peer, type="hello", device={"browser": "Lynx/2.9"}, request_id="h")
        assert (answer["type"], answer["request_id"], answer["client_id"]) == ("hello", "h", "desk")
        (row,) = json.loads(broker.get("/api/connections?port=api")[1])["connections"]
        assert (row["client_id"], row["device"], row["port"]) == ("desk", {"browser": "Lynx/2.9"}, "api")
        assert (await ask(peer, type="hello", client_id="other"))["client_id"] == "other"
        await asyncio.to_thread(kick, broker, row["connection_id"])
        assert await peer.wait_closed() == (4410, "kicked by an operator")
    assert 'taskferry_connections_kicked_total{port="api"} 1' in broker.get("/metrics")[1]
    await eventually(lambda: 'taskferry_connections{port="api"} 0' in broker.get("/metrics")[1], "it is gone")


async def test_too_many_messages_are_refused_and_a_flood_is_closed(programs: Programs) -> None:
    broker = programs.start_broker("--api-messages-per-s", "20")
    async with page(broker) as peer, page(broker) as other:
        for number in range(40):
            await peer.send({"type": "ping", "id": str(number)})
        answers = [await peer.receive() for _ in range(40)]
        assert [answer["id"] for answer in answers] == [str(number) for number in range(40)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert 10 <= len(refused) <= 20
        assert {answer["error"]["code"] for answer in refused} == {"rate_limited"}
        assert "over 20 messages a second" in refused[0]["error"]["message"]
        assert 0 < refused[0]["error"]["details"]["retry_after"] <= 0.051
        with suppress(ConnectionClosed):
            for _ in range(10 * int(20 * REFUSED_S_MAX)):
                await peer.send({"type": "ping"})
        code, reason = await peer.wait_closed()
        assert (code, reason) == (1008, "over 20 messages a second on this connection (api_messages_per_s)")
        assert (await ask(other, type="ping"))["type"] == "pong", "nobody else"


def write_access(path: Path, **rights: str) -> None:
    path.write_text(access_file(**rights))


def with_token(name: str) -> dict[str, Any]:
    return {
        "subprotocols": [Subprotocol(f"taskferry.token.{token_of(name)}"), Subprotocol("taskferry.v1.json")]
    }


async def test_a_page_logs_in_by_a_subprotocol_and_needs_a_right(programs: Programs) -> None:
    path = programs.folder / "access.toml"
    rights = {"viewer": 'watch = ["task:*"]', "caller": 'call = ["*"]'}
    write_access(path, **rights)
    broker = programs.start_broker("--access", str(path))
    for options, status in (({}, 401), (with_token("stranger"), 401), (with_token("caller"), 403)):
        with pytest.raises(InvalidStatus) as refused:
            async with page(broker, **options):
                pass
        assert refused.value.response.status_code == status
    async with page(broker, **with_token("viewer")) as peer:
        assert peer.connection.subprotocol == "taskferry.v1.json"
        answer = await ask(peer, type="auth", token=token_of("viewer"), request_id="a")
        assert (answer["type"], answer["success"], answer["identity"]) == ("auth", True, "viewer")
        answer = await ask(peer, type="auth", token=token_of("caller"))
        assert (answer["success"], answer["code"]) == (False, "forbidden")
        write_access(path, caller=rights["caller"])
        broker.send_signal(signal.SIGHUP)
        assert (await peer.wait_closed())[0] == 4401


async def test_it_is_closed_when_the_broker_stops(broker: Broker) -> None:
    async with page(broker) as peer:
        broker.terminate()
        assert await peer.wait_closed() == (1012, "broker is going away")


# --- topics ---

WORKER = """
from taskferry.worker import Context, Worker

worker = Worker(name="counter")

@worker.command("count")
async def count(context: Context) -> str:
    for number in range(1, 26):
        await context.progress(number / 25, f"{number} of 25", current=number, total=25)
    return "counted"
"""


async def events_of(peer: Peer, count: int) -> list[Any]:
    """The next events, at least so many, taken out of their batches."""
    events: list[Any] = []
    while len(events) < count:
        message = await peer.receive()
        if message["type"] == "batch":
            assert 1 < len(message["messages"]) <= 10
        events += message["messages"] if message["type"] == "batch" else [message]
    return events


async def test_a_page_sees_how_a_task_goes_on(programs: Programs, broker: Broker) -> None:
    (programs.folder / "count_tasks.py").write_text(WORKER)
    programs.start(
        "-m", "taskferry.worker", "count_tasks:worker", "--broker", broker.worker_url,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(broker.workers, "the worker")
    async with (
        page(broker, "/ws/task?topics=task:status,task:progress") as peer,
        Requester(broker.requester_url) as requester,
    ):
        subscribed = await peer.receive()
        assert (subscribed["type"], subscribed["id"]) == ("subscribed", None)
        assert subscribed["data"]["topics"] == ["task:status", "task:progress"]
        assert await requester.call("count", request_id="job-7") == "counted"
        events: list[Any] = []
        while not events or events[-1]["data"].get("status") not in ("done", "failed"):
            events += await events_of(peer, 1)
        assert {event["data"]["task_id"] for event in events} == {"job-7"}
        assert [event["data"]["status"] for event in events if event["type"] == "task_status"][-1] == "done"
        progress = [event for event in events if event["type"] == "task_progress"]
        assert progress
        for event in progress:
            assert event["topic"] == "task:progress"
            assert isinstance(event["id"], str)
            assert abs(event["timestamp"] - subscribed["timestamp"]) < 60_000
            data = event["data"]
            assert (data["total"], data["percentage"]) == (25, data["current"] * 4)
        offsets = [event["offset"] for event in events]
        assert offsets == sorted(set(offsets))


async def test_pages_publish_to_each_other_and_one_that_comes_back_misses_nothing(broker: Broker) -> None:
    async with page(broker) as writer:
        async with page(broker) as reader:
            subscribed = await ask(reader, type="subscribe", id="s", data={"topics": ["chat:*"]})
            position = subscribed["data"]
            published = await ask(
                writer, type="publish", id="p", data={"topic": "chat:1", "data": {"text": "ü"}}
            )
            assert (published["type"], published["id"]) == ("published", "p")
            (event,) = await events_of(reader, 1)
            assert (event["type"], event["topic"], event["data"]) == ("event", "chat:1", {"text": "ü"})
        for number in range(25):
            await ask(writer, type="publish", data={"topic": "chat:2", "data": number})
        async with page(broker) as reader:
            since = {"epoch": position["epoch"], "offset": event["offset"]}
            again = await ask(reader, type="subscribe", data={"topics": ["chat:*", "new"], "since": since})
            assert again["data"]["recovery"] == {"chat:*": "recovered", "new": "gap"}
            missed = await events_of(reader, 25)
            assert [one["data"] for one in missed] == list(range(25))
            left = await ask(reader, type="unsubscribe", id="u", data={"topics": ["chat:*"]})
            assert (left["type"], left["data"]) == ("unsubscribed", {"topics": ["chat:*"]})
            await ask(writer, type="publish", data={"topic": "chat:2", "data": "nobody"})
            assert (await ask(reader, type="ping"))["type"] == "pong"


async def test_a_topic_needs_its_right(programs: Programs) -> None:
    path = programs.folder / "access.toml"
    write_access(path, viewer='watch = ["task:*"]')
    broker = programs.start_broker("--access", str(path))
    async with page(broker, "/ws?topics=worker:*", **with_token("viewer")) as peer:
        refused = await peer.receive()
        assert (refused["type"], refused["id"], refused["error"]["code"]) == ("error", None, "forbidden")
        assert (await ask(peer, type="subscribe", data={"topics": ["task:list"]}))["type"] == "subscribed"
        error = await ask(peer, type="publish", id="p", data={"topic": "chat", "data": 1})
        assert (error["id"], error["error"]["code"]) == ("p", "forbidden")
        write_access(path, viewer='watch = ["job:*"]')
        broker.send_signal(signal.SIGHUP)
        assert (await peer.wait_closed())[0] == 4403


async def test_a_page_that_reads_nothing_holds_up_no_other(programs: Programs) -> None:
    broker = programs.start_broker("--api-messages-per-s", "0", "--event-batch", "0")
    async with page(broker, "/ws?topics=big", max_queue=1), page(broker, "/ws?topics=big") as reader:
        assert (await reader.receive())["type"] == "subscribed"
        async with page(broker) as writer:
            text = "x" * 60_000
            for number in range(200):
                await writer.send({"type": "publish", "data": {"topic": "big", "data": [number, text]}})
                assert (await writer.receive())["type"] == "published"
                (event,) = await events_of(reader, 1)
                assert event["data"][0] == number
        assert broker.rss_bytes() < 300 * 1024**2
