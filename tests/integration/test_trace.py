"""`trace` reaches the handler byte for byte, whichever way its request takes; without one nothing is sent."""

import asyncio
from collections.abc import Iterator

import pytest
from taskferry.requester import BlockingRequester, Requester

from tests.integration.peers import connected, unique
from tests.processes import Broker, Programs, programs_in, wait_until

WORKER = """
from taskferry.worker import Context, Worker

worker = Worker()

@worker.command("trace_in_loop")
async def in_loop(context: Context) -> str | None:
    return context.trace

@worker.command("trace_in_thread")
def in_thread(context: Context) -> str | None:
    return context.trace
"""

TRACES = (
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
    ' no traceparent: "\\ \t\u00fc\U0001f600\x7f ' + "x" * 200,
    "",
    None,
)
"""A valid one, one that is nearly valid, one that is none, and the shortest: the broker does not look at it."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with a worker in each encoding."""
    with programs_in(tmp_path_factory.mktemp("trace")) as programs:
        broker = programs.start_broker("--grace", "0")
        (programs.folder / "trace_tasks.py").write_text(WORKER)
        for encoding in ("json", "msgpack"):
            programs.start(
                "-m", "taskferry.worker", "trace_tasks:worker", "--broker", broker.worker_url,
                "--name", encoding, "--encoding", encoding,
                environment={"PYTHONPATH": str(programs.folder)},
            )  # fmt: skip
        wait_until(lambda: len(broker.workers()) == 2, "both workers")
        yield broker


@pytest.mark.parametrize("target", ["json", "msgpack"])
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_it_gets_from_both_sdks_to_handlers_of_both_kinds(
    served: Broker, encoding: str, target: str
) -> None:
    def block(command: str, trace: str | None) -> object:
        with BlockingRequester(served.requester_url, encoding=encoding) as requester:
            return requester.call(command, trace=trace, target=target)

    async with Requester(served.requester_url, encoding=encoding) as requester:
        for command in ("trace_in_loop", "trace_in_thread"):
            for trace in TRACES:
                assert await requester.call(command, trace=trace, target=target) == trace
                response = await requester.request(command, trace=trace, target=target)
                assert response.data == trace
            assert await asyncio.to_thread(block, command, TRACES[2]) == TRACES[2]


@pytest.mark.parametrize("worker_encoding", ["json", "msgpack"])
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_on_the_wire_it_is_the_requesters_or_not_there(
    shared_broker: Broker, encoding: str, worker_encoding: str
) -> None:
    command = unique("traced")
    async with (
        connected(shared_broker.worker_url, worker_encoding) as worker,
        connected(shared_broker.requester_url, encoding) as requester,
    ):
        await worker.join(unique("w"), command, concurrency=10)
        for number, trace in enumerate(TRACES):
            await requester.send({"request_id": str(number), "command": command, "trace": trace})
            call = (await worker.receive_assignment())["data"]
            assert call.get("trace") == trace
            assert ("trace" in call) == (trace is not None)


async def test_it_waits_with_its_request(shared_broker: Broker) -> None:
    command = unique("traced")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(unique("w"), command, concurrency=1)
        for trace in ("first", TRACES[0]):
            await requester.send({"command": command, "trace": trace})
        await worker.respond(await worker.receive_assignment(), None)
        assert (await worker.receive_assignment())["data"]["trace"] == TRACES[0]


async def test_a_second_copy_has_it_too(shared_broker: Broker) -> None:
    command = unique("traced")
    url = shared_broker.worker_url
    async with connected(url) as second, connected(shared_broker.requester_url) as requester:
        async with connected(url) as first:
            await first.join(unique("w"), command)
            await requester.send(
                {"command": command, "trace": TRACES[2], "idempotent": True, "hedge": 0.05, "request_id": "r"}
            )
            assert (await first.receive_assignment())["data"]["trace"] == TRACES[2]
            await second.join(unique("w"), command)
            copy = await second.receive_assignment()
            assert copy["data"]["trace"] == TRACES[2]
        await second.respond(copy, "from the copy")
        assert (await requester.receive())["data"] == "from the copy"


async def test_a_retry_has_it_too(programs: Programs) -> None:
    broker = programs.start_broker()
    async with connected(broker.worker_url, "msgpack") as other, connected(broker.requester_url) as requester:
        async with connected(broker.worker_url) as lost:
            await lost.join("lost", "c")
            await requester.send({"command": "c", "trace": TRACES[2], "idempotent": True})
            assert (await lost.receive_assignment())["data"]["trace"] == TRACES[2]
            await other.join("other", "c")
        assert (await other.receive_assignment())["data"]["trace"] == TRACES[2]
