"""Messages about topics at both ports, with real sockets: answers, errors, rights, and where events come from."""

from typing import Any

import pytest
from taskferry.broker.topics import hub
from taskferry.broker.topics.sources import Source
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import EVENT_SIZE_BYTES_MAX

from tests.each_case import each_case
from tests.unit.broker.access_files import policy
from tests.unit.broker.shell import Peer, open_shell
from tests.unit.transport.waiting import until


def subscribe(peer: Peer, *topics: str, **more: Any) -> None:
    peer.send({"type": "subscribe", "id": "s1", "data": {"topics": list(topics), **more}})


def publish(peer: Peer, topic: str, data: object = None, id: str = "p1") -> None:
    peer.send({"type": "publish", "id": id, "data": {"topic": topic, "data": data}})


async def events(peer: Peer, count: int) -> list[Any]:
    """The next events, out of batches."""
    found: list[Any] = []
    while len(found) < count:
        message = await peer.receive()
        found += message["messages"] if message["type"] == "batch" else [message]
    assert len(found) == count
    return found


@pytest.mark.parametrize("encoding", Encoding)
async def test_what_one_publishes_others_get_in_their_encoding(encoding: Encoding) -> None:
    async with open_shell() as shell:
        one, other = await shell.requester(encoding), await shell.requester()
        subscribe(one, "news*")
        answer = await one.receive()
        assert (answer["type"], answer["id"]) == ("subscribed", "s1")
        assert answer["data"]["topics"] == ["news*"]
        publish(other, "news:a", {"title": "ü"})
        published = await other.receive()
        assert published["type"] == "published"
        assert published["id"] == "p1"
        event = await one.receive()
        assert event["data"] == {"title": "ü"}
        assert (event["type"], event["topic"]) == ("event", "news:a")
        assert event["offset"] == published["data"]["offset"] == answer["data"]["offset"] + 1
        assert event["id"] == f"{answer['data']['epoch']}-{event['offset']}"
        publish(other, "old")
        assert (await other.receive())["data"] == {"topic": "old", "offset": None}
        one.send({"type": "unsubscribe", "id": "u1", "data": {"topics": ["news*"]}})
        gone = await one.receive()
        assert (gone["type"], gone["id"], gone["data"]) == ("unsubscribed", "u1", {"topics": ["news*"]})
        publish(other, "news:b")
        await other.receive()
        one.send({"type": "ping", "request_id": "r"})
        assert (await one.receive())["type"] == "pong"


@pytest.mark.parametrize("worker_encoding", Encoding)
async def test_the_steps_and_the_progress_of_a_request(worker_encoding: Encoding) -> None:
    async with open_shell() as shell:
        watcher, requester = await shell.requester(), await shell.requester()
        worker = await shell.worker(worker_encoding, name="w")
        subscribe(watcher, "task:*")
        await watcher.receive()
        assert shell.attached == [(Source.STEPS, True), (Source.PROGRESS, True)]
        requester.send({"request_id": "r1", "command": "work"})
        assignment = await worker.receive()
        found = await events(watcher, 3)
        assert [(event["type"], event["topic"]) for event in found] == [
            ("task_list", "task:list"),
            ("task_status", "task:status"),
            ("task_status", "task:status"),
        ]
        assert found[0]["data"] == {"task_id": "r1", "command": "work", "action": "added"}
        assert found[1]["data"] == {"task_id": "r1", "command": "work", "status": "accepted"}
        assert found[2]["data"]["status"] == "assigned"
        assert found[2]["data"]["worker_id"] == "w"
        msg_id = assignment["msg_id"]
        report = {"progress": 0.4, "text": "page 4 of 10", "current": 4, "total": 10}
        worker.send({"type": "notification", "msg_id": msg_id, "data": report})
        (progress,) = await events(watcher, 1)
        assert (progress["type"], progress["topic"]) == ("task_progress", "task:progress")
        assert progress["data"] == {
            "task_id": "r1",
            "command": "work",
            "worker_id": "w",
            "percentage": 40.0,
            "text": "page 4 of 10",
            "current": 4,
            "total": 10,
        }
        assert str(progress["data"]["current"]) == "4", "a count is no fraction"
        for bad in ("half", {"progress": "half"}):
            worker.send({"type": "notification", "msg_id": msg_id, "data": bad})
        worker.send({"type": "notification", "msg_id": "none", "data": report})
        worker.send({"type": "notification", "msg_id": msg_id, "data": {"current": 10, "total": 10}})
        (progress,) = await events(watcher, 1)
        assert progress["data"]["completed"] is True
        assert "percentage" not in progress["data"]
        worker.send({"type": "response", "msg_id": msg_id, "data": {"success": True}})
        done, removed = await events(watcher, 2)
        assert done["data"] == {"task_id": "r1", "command": "work", "status": "done"}
        assert removed["data"]["action"] == "removed"


@pytest.mark.parametrize("worker_encoding", Encoding)
async def test_chunks_are_events_for_those_who_ask_for_them(worker_encoding: Encoding) -> None:
    async with open_shell() as shell:
        watcher, other, requester = [await shell.requester() for _ in range(3)]
        worker = await shell.worker(worker_encoding, name="w")
        subscribe(watcher, "chunk:r1")
        await watcher.receive()
        assert shell.attached == [(Source.CHUNKS, True)]
        subscribe(other, "task:*")
        await other.receive()
        for request_id in ("r1", "r2"):
            requester.send({"request_id": request_id, "command": "work", "stream": True})
            while (assignment := await worker.receive())["type"] != "request":
                pass  # credit
            msg_id = assignment["msg_id"]
            worker.send({"type": "chunk", "msg_id": msg_id, "sequence": 1, "data": {"line": "ü"}})
            assert (await requester.receive())["type"] == "chunk"
            worker.send({"type": "response", "msg_id": msg_id, "data": {"success": True}})
            assert (await requester.receive())["success"]
            worker.send({"type": "chunk", "msg_id": msg_id, "sequence": 2, "data": "late"})
        (event,) = await events(watcher, 1)
        assert (event["type"], event["topic"]) == ("task_chunk", "chunk:r1")
        assert event["data"] == {
            "task_id": "r1",
            "command": "work",
            "worker_id": "w",
            "attempt": 1,
            "sequence": 1,
            "data": {"line": "ü"},
        }
        watcher.send({"type": "ping", "request_id": "p"})
        assert (await watcher.receive())["type"] == "pong", "no chunk of r2, and none that came late"
        assert {event["type"] for event in await events(other, 10)} == {"task_list", "task_status"}


async def test_one_task_alone_and_how_requests_can_end() -> None:
    async with open_shell() as shell:
        watcher, requester = await shell.requester(), await shell.requester()
        worker = await shell.worker()
        subscribe(watcher, "task:r1", "task:r2", "task:r3")
        await watcher.receive()
        for number in range(1, 5):
            requester.send({"request_id": f"r{number}", "command": "work"})
        first = await worker.receive()
        requester.send({"type": "cancel", "request_id": "r2"})
        worker.send({"type": "response", "msg_id": first["msg_id"], "data": {"success": False, "error": "x"}})
        third = await worker.receive()
        worker.link.abort("the test")
        await until(lambda: len([m for m in requester.recorder.messages if b'"code"' in m]) == 4)
        assert third["data"]["request_id"] == "r3"
        statuses: dict[str, list[str]] = {}
        while sum(seen[-1] in ("failed", "cancelled") for seen in statuses.values()) < 3:
            for event in await _next(watcher):
                assert event["topic"] == f"task:{event['data']['task_id']}"
                statuses.setdefault(event["data"]["task_id"], []).append(event["data"]["status"])
        assert statuses == {
            "r1": ["accepted", "assigned", "failed"],
            "r2": ["accepted", "waiting", "cancelled"],
            "r3": ["accepted", "waiting", "assigned", "unassigned", "failed"],
        }


async def _next(peer: Peer) -> list[Any]:
    message = await peer.receive()
    messages: list[Any] = message["messages"] if message["type"] == "batch" else [message]
    return messages


async def test_workers_that_come_and_go() -> None:
    async with open_shell() as shell:
        watcher = await shell.requester()
        subscribe(watcher, "worker:*")
        await watcher.receive()
        worker = await shell.worker(name="w")
        moved, joined = await events(watcher, 2)
        assert (moved["type"], moved["data"]["state"]) == ("worker_status", "healthy")
        assert joined["topic"] == "worker:w"
        assert joined["type"] == "worker_joined"
        assert joined["data"]["commands"] == ["work"]
        worker.send({"type": "disconnect"})
        worker.link.close()
        types: list[str] = []
        while "worker_left" not in types:
            types += [event["type"] for event in await _next(watcher)]
        assert "worker_status" in types


async def test_what_a_worker_publishes() -> None:
    async with open_shell() as shell:
        watcher, worker = await shell.requester(Encoding.MSGPACK), await shell.worker()
        subscribe(watcher, "news")
        await watcher.receive()
        worker.send({"type": "publish", "msg_id": "e1", "data": {"topic": "news", "data": [1]}})
        worker.send({"type": "publish", "data": {"topic": "news"}})
        assert [event["data"] for event in await events(watcher, 2)] == [[1], None]
        worker.send({"type": "publish", "msg_id": "e2", "data": {"topic": "task:1"}})
        fault = await worker.receive()
        assert (fault["type"], fault["msg_id"], fault["data"]["code"]) == ("error", "e2", "forbidden")


@each_case(
    ("data", "code", "text"),
    [
        ({"topic": "task:1"}, "forbidden", "one of the broker's own"),
        ({"topic": "a*"}, "bad_request", "has no *"),
        ({"topic": "news", "data": "x" * EVENT_SIZE_BYTES_MAX}, "too_large", "EVENT_SIZE_BYTES_MAX"),
        ({"data": 1}, "bad_request", "data.topic: missing"),
    ],
)
def test_what_cannot_be_published(data: dict[str, Any], code: str, text: str) -> None:
    import asyncio

    async def check() -> None:
        async with open_shell() as shell:
            peer = await shell.requester(Encoding.MSGPACK)
            peer.send({"type": "publish", "id": "p1", "data": data})
            answer = await peer.receive()
            assert (answer["type"], answer["id"]) == ("error", "p1")
            assert answer["error"]["code"] == code
            assert text in answer["error"]["message"]
            assert answer["timestamp"] > 1e12
            largest = "x" * (EVENT_SIZE_BYTES_MAX - 5)
            peer.send({"type": "publish", "id": "p2", "data": {"topic": "news", "data": largest}})
            assert (await peer.receive())["type"] == "published"

    asyncio.run(check())


async def test_rights_to_watch_and_to_publish_and_their_loss() -> None:
    rights = {
        "watcher": 'watch = ["task:*", "news"]\ndeny = { watch = ["task:secret*"] }',
        "publisher": 'publish = ["news"]',
        "worker": 'serve = ["*"]',
    }
    async with open_shell(policy(**rights)) as shell:
        watcher = await shell.requester(identity="watcher")
        for topics, rule in (
            (["news", "task:*"], 'deny watch "task:secret*"'),
            (["worker:1"], "no rule grants it"),
            (["*"], 'deny watch "task:secret*"'),
        ):
            subscribe(watcher, *topics)
            answer = await watcher.receive()
            assert answer["error"]["code"] == "forbidden", topics
            assert rule in answer["error"]["message"]
        subscribe(watcher, "news", "task:1")
        assert (await watcher.receive())["type"] == "subscribed"
        publish(watcher, "news")
        assert "may not publish 'news'" in (await watcher.receive())["error"]["message"]
        publisher = await shell.requester(identity="publisher")
        publish(publisher, "news", 1)
        assert (await publisher.receive())["type"] == "published"
        assert (await watcher.receive())["data"] == 1
        worker = await shell.worker(identity="worker")
        worker.send({"type": "publish", "msg_id": "e", "data": {"topic": "news"}})
        assert (await worker.receive())["data"]["code"] == "forbidden"
        shell.take(policy(**{**rights, "watcher": 'watch = ["task:*"]'}))
        assert "watch 'news'" in await watcher.closed()
        assert not shell.topics.hub.subscribers


async def test_a_right_to_what_was_left_may_go() -> None:
    async with open_shell(policy(watcher='watch = ["a", "b"]')) as shell:
        watcher = await shell.requester(identity="watcher")
        subscribe(watcher, "a", "b")
        await watcher.receive()
        watcher.send({"type": "unsubscribe", "data": {"topics": ["a"]}})
        await watcher.receive()
        shell.take(policy(watcher='watch = ["b"]'))
        subscribe(watcher, "b")
        assert (await watcher.receive())["type"] == "subscribed"


async def test_messages_that_come_too_fast_are_refused_by_their_id() -> None:
    limits = "limits = { messages_per_s = 1.0 }"
    async with open_shell(policy(watcher=f'watch = ["*"]\n{limits}')) as shell:
        watcher = await shell.requester(identity="watcher")
        for _ in range(20):
            subscribe(watcher, "a")
        codes = []
        for _ in range(20):
            answer = await watcher.receive()
            if answer["type"] == "error":
                codes.append(answer["error"]["code"])
                assert answer["id"] == "s1"
                assert answer["error"]["details"]["retry_after"] > 0
        assert set(codes) == {"rate_limited"}


async def test_a_subscriber_that_leaves_is_forgotten_and_unsubscribing_first_is_no_fault() -> None:
    async with open_shell() as shell:
        peer = await shell.requester()
        peer.send({"type": "unsubscribe", "id": "u", "data": {"topics": ["a"]}})
        assert (await peer.receive())["data"] == {"topics": []}
        subscribe(peer, "a", "worker:*")
        await peer.receive()
        assert shell.topics.wants(Source.WORKERS)
        assert not shell.topics.wants(Source.STEPS)
        peer.link.close()
        await until(lambda: not shell.topics.hub.subscribers)


async def test_too_many_topics_are_refused() -> None:
    async with open_shell() as shell:
        peer = await shell.requester()
        for number in range(2):
            subscribe(peer, *[f"t{number}-{index}" for index in range(60)])
        assert (await peer.receive())["type"] == "subscribed"
        answer = await peer.receive()
        assert answer["error"]["code"] == "overloaded"
        assert "TOPICS_COUNT_MAX" in answer["error"]["message"]


async def test_who_comes_back_on_another_connection_gets_what_it_has_missed() -> None:
    async with open_shell() as shell:
        first, other = await shell.requester(), await shell.requester()
        subscribe(first, "news")
        position = (await first.receive())["data"]
        first.link.abort("the test")
        await until(lambda: not shell.topics.hub.subscribers)
        for number in range(25):
            publish(other, "news", number)
        for _ in range(25):
            await other.receive()
        again = await shell.requester()
        since = {"epoch": position["epoch"], "offset": position["offset"]}
        subscribe(again, "news", since=since)
        answer = await again.receive()
        assert answer["data"]["recovery"] == {"news": "recovered"}
        assert answer["data"]["offset"] == position["offset"]
        assert [event["data"] for event in await events(again, 25)] == list(range(25))


async def test_one_that_stops_reading_is_closed_and_others_get_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "STALLED_S_MAX", 0.3)
    async with open_shell() as shell:
        slow, fast, other = await shell.requester(), await shell.requester(), await shell.requester()
        for peer in (slow, fast):
            subscribe(peer, "news")
            await peer.receive()
        slow.link._transport.pause_reading()
        data = "x" * 60_000
        count = 0
        while shell.topics.hub.counts.closed_count == 0:
            publish(other, "news", data)
            assert (await other.receive())["type"] == "published"
            count += 1
        assert shell.topics.hub.counts.dropped_count > 0
        seen = await events(fast, count)
        assert len({event["offset"] for event in seen}) == count
        assert len(shell.topics.hub.subscribers) == 1
        slow.link._transport.resume_reading()
        await slow.closed()
