"""Topics with real brokers, workers and subscribers: both SDKs, the command line, lost connections, restarts."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from taskferry.requester import (
    BlockingRequester,
    Forbidden,
    Gap,
    HandlerError,
    Requester,
    TooLarge,
    TopicEvent,
)

from tests.processes import Broker, Program, Programs, programs_in, wait_until

WORKER = """
import asyncio
from taskferry.worker import Context, Worker

worker = Worker(concurrency=8)

@worker.command("steps")
async def steps(context: Context, count: int = 3) -> str:
    for number in range(count):
        context.progress((number + 1) / count, f"step {number + 1}", current=number + 1, total=count)
        await asyncio.sleep(0.15)
    return "done"

@worker.command("say_here")
async def say_here(context: Context, topic: str = "news", data: object = None) -> None:
    await context.publish(topic, data)

@worker.command("say_in_thread")
def say_in_thread(context: Context, topic: str = "news", data: object = None) -> None:
    context.publish(topic, data)

@worker.command("say_in_process", executor="process")
def say_in_process(context: Context, topic: str = "news", data: object = None) -> None:
    context.publish(topic, data)
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with programs_in(tmp_path) as started:
        yield started


def start_worker(programs: Programs, broker: Broker, *options: str) -> Program:
    (programs.folder / "topic_tasks.py").write_text(WORKER)
    count = len(broker.workers())
    worker = programs.start(
        "-m", "taskferry.worker", "topic_tasks:worker", "--broker", broker.worker_url, *options,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(lambda: len(broker.workers()) > count, "the worker has joined")
    return worker


async def test_a_request_is_seen_from_its_beginning_to_its_end(programs: Programs) -> None:
    broker = programs.start_broker()
    start_worker(programs, broker)
    async with (
        Requester(broker.requester_url, encoding="msgpack") as requester,
        requester.subscribe("task:*") as events,
    ):
        assert await requester.call("steps", {"count": 3}) == "done"
        seen: list[TopicEvent] = []
        async for event in events:
            assert isinstance(event, TopicEvent)
            seen.append(event)
            if event.data.get("action") == "removed":
                break
    statuses = [event.data["status"] for event in seen if event.type == "task_status"]
    assert statuses == ["accepted", "assigned", "done"]
    progress = [event.data for event in seen if event.type == "task_progress"]
    assert progress[-1]["completed"] is True
    assert progress[-1]["percentage"] == 100
    assert progress[-1]["text"] == "step 3"
    assert [event.offset for event in seen] == sorted(event.offset for event in seen)
    assert time.time() - 60 < seen[0].timestamp < time.time() + 1


async def test_a_job_is_seen_too(programs: Programs) -> None:
    broker = programs.start_broker()
    start_worker(programs, broker)
    async with (
        Requester(broker.requester_url) as requester,
        requester.subscribe("job:*", "task:j1") as events,
    ):
        job = await requester.submit("steps", {"count": 1}, job_id="j1")
        await job.result()
        states: list[str] = []
        statuses: list[str] = []
        async for event in events:
            assert isinstance(event, TopicEvent)
            if event.type == "job_status":
                states.append(event.data["state"])
            elif event.type == "task_status":
                statuses.append(event.data["status"])
            if states[-1:] == ["done"] and statuses[-1:] == ["done"]:
                break
        assert states[0] in ("accepted", "assigned")
        assert statuses == ["accepted", "assigned", "done"]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_handlers_of_every_kind_publish(programs: Programs, encoding: str) -> None:
    broker = programs.start_broker()
    worker = start_worker(programs, broker, "--encoding", encoding)
    async with Requester(broker.requester_url) as requester, requester.subscribe("news") as events:
        for where in ("here", "in_thread", "in_process"):
            await requester.call(f"say_{where}", {"data": [where, 1]})
            event = await anext(events)
            assert isinstance(event, TopicEvent)
            assert (event.type, event.topic, event.data) == ("event", "news", [where, 1])
            with pytest.raises(TooLarge, match="EVENT_SIZE_BYTES_MAX"):
                await requester.call(f"say_{where}", {"data": "x" * 65_536})
            with pytest.raises(HandlerError, match="topic"):
                await requester.call(f"say_{where}", {"topic": "a*"})
        await requester.call("say_here", {"topic": "job:1"})
        worker.wait_for_stderr("one of the broker's own|forbidden")


async def test_after_a_lost_connection_nothing_is_missing(programs: Programs) -> None:
    broker = programs.start_broker()
    async with Requester(broker.requester_url) as requester, requester.subscribe("news") as events:
        for number in range(300):
            await requester.publish("news", number)
            if number % 60 == 30:
                listening = events._listening
                assert listening is not None
                if listening.link is not None:
                    listening.link.abort("the test")
        seen = [(await anext(events)) for _ in range(300)]
        assert [event.data for event in seen if isinstance(event, TopicEvent)] == list(range(300))
        status, text = broker.get("/metrics")
        assert status == 200
        assert 'taskferry_subscriptions_resumed_total{outcome="recovered"}' in text


async def test_after_a_restart_of_the_broker_there_is_a_gap(programs: Programs) -> None:
    broker = programs.start_broker("--grace", "0")
    ports = [
        *("--requester-port", broker.requester_url.rpartition(":")[2]),
        *("--http-port", broker.http_url.rpartition(":")[2]),
    ]
    async with Requester(broker.requester_url) as requester, requester.subscribe("news", "o*") as events:
        await requester.publish("news", 1)
        first = await anext(events)
        assert isinstance(first, TopicEvent)
        broker.kill()
        broker.wait()
        programs.start_broker("--grace", "0", *ports)
        gaps = [await anext(events), await anext(events)]
        assert gaps == [Gap("news", None, "away"), Gap("o*", None, "away")]
        await requester.publish("news", 2)
        second = await anext(events)
        assert isinstance(second, TopicEvent)
        assert second.data == 2
        assert second.id.partition("-")[0] != first.id.partition("-")[0]


def test_a_thread_takes_events_and_publishes(programs: Programs) -> None:
    broker = programs.start_broker()
    with BlockingRequester(broker.requester_url) as requester, requester.subscribe("news") as events:
        assert requester.publish("nobody", 1) is None
        offsets = [requester.publish("news", {"number": number}) for number in range(5)]
        seen = [next(events) for _ in range(5)]
        assert [event.offset for event in seen if isinstance(event, TopicEvent)] == offsets
        ended = threading.Event()

        def read() -> None:
            for _ in events:
                pass
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        events.close()
        assert ended.wait(10)
        reader.join()


async def test_errors_of_subscribers_and_publishers(programs: Programs, tmp_path: Path) -> None:
    broker = programs.start_broker()
    async with Requester(broker.requester_url) as requester:
        with pytest.raises(Forbidden, match="one of the broker's own"):
            await requester.publish("task:1", 1)
        for topics in ((), ("x" * 161,), ("",), tuple(str(number) for number in range(101))):
            with pytest.raises(ValueError, match="topics"):
                requester.subscribe(*topics)
        subscription = requester.subscribe("news")
        with pytest.raises(RuntimeError, match="async with"):
            await anext(subscription)
        async with subscription:
            pass
        with pytest.raises(RuntimeError, match="entered once"):
            await subscription.__aenter__()
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)
    with pytest.raises(RuntimeError, match="closed"):
        requester.subscribe("news")


def watch(programs: Programs, broker: Broker, *arguments: str) -> Program:
    return programs.start("-m", "taskferry.cli", "watch", "--broker", broker.requester_url, *arguments)


def test_the_command_line_prints_a_line_for_each_event_until_ctrl_c(programs: Programs) -> None:
    broker = programs.start_broker()
    people, machine = watch(programs, broker, "news*"), watch(programs, broker, "--json", "news*")
    wait_until(lambda: "\ntaskferry_subscribers 2" in broker.get("/metrics")[1], "both have subscribed")
    with BlockingRequester(broker.requester_url) as requester:
        requester.publish("news:a", {"title": "rain", "count": 3})
        requester.publish("news:b")
    people.wait_for_stdout(r"\d\d:\d\d:\d\d\.\d{3}  news:a  event  title=rain  count=3\n")
    people.wait_for_stdout(r"news:b  event\n")
    machine.wait_for_stdout("news:b")
    lines = [json.loads(line) for line in machine.stdout.splitlines()]
    assert [(line["topic"], line["data"]) for line in lines] == [
        ("news:a", {"title": "rain", "count": 3}),
        ("news:b", None),
    ]
    for program in (people, machine):
        program.send_signal(signal.SIGINT)
        assert program.wait() == 130
        assert program.stderr == ""


def test_the_command_line_says_why_it_cannot_watch(programs: Programs, tmp_path: Path) -> None:
    program = programs.start("-m", "taskferry.cli", "watch", "--broker", "ws://127.0.0.1:9", "news")
    assert program.wait() == 5
    assert "Cannot connect" in program.stderr
    assert programs.start("-m", "taskferry.cli", "watch").wait() == 2
    access = tmp_path / "access.toml"
    access.write_text('[anonymous]\ncall = ["*"]\nwatch = ["news"]\n')
    broker = programs.start_broker("--access", str(access))
    refused = watch(programs, broker, "task:*")
    assert refused.wait() == 6
    assert "anonymous may not watch 'task:*': no rule grants it" in refused.stderr
