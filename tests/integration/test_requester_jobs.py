"""Jobs by both SDKs and the command line against a real broker and a real worker, also through a killed broker."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from taskferry.requester import (
    BlockingRequester,
    Cancelled,
    EndedJob,
    HandlerError,
    Job,
    JobChunk,
    JobIdConflict,
    JobNotEnded,
    JobReceipt,
    Progress,
    Requester,
    UnknownJob,
    WrongState,
)

from tests.integration.peers import eventually
from tests.processes import Broker, Programs, programs_in, wait_until

WORKER = """
import asyncio
from pathlib import Path
from taskferry.worker import CommandError, Context, Worker

worker = Worker(concurrency=16)

@worker.command("job_add")
async def add(a: int, b: int) -> int:
    return a + b

@worker.command("job_until")
async def until(path: str) -> str:
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "there"

@worker.command("job_pages")
async def pages(context: Context, until: str) -> str:
    while not Path(until).exists():
        await asyncio.sleep(0.01)
    for number in (1, 2, 3):
        await context.progress(current=number, total=3)
        await context.send({"page": number})
    return "read"

@worker.command("job_fail")
async def fail() -> None:
    raise CommandError("too blue", code="too_blue")
"""


def start_worker(programs: Programs, broker: Broker) -> None:
    (programs.folder / "job_tasks.py").write_text(WORKER)
    programs.start(
        "-m", "taskferry.worker", "job_tasks:worker", "--broker", broker.worker_url,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(broker.workers, "the worker")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with a worker, for all tests that disturb neither."""
    with programs_in(tmp_path_factory.mktemp("jobs")) as programs:
        broker = programs.start_broker("--grace", "0")
        start_worker(programs, broker)
        yield broker


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_the_life_of_a_job(served: Broker, encoding: str) -> None:
    async with Requester(served.requester_url, encoding=encoding) as requester:
        name = f"life-{encoding}"
        job = await requester.submit("job_add", {"a": 1, "b": 2}, job_id=name)
        steps = [receipt async for receipt in job.receipts()]
        assert [(step.state, step.attempt) for step in steps] == [
            ("accepted", 0),
            ("assigned", 1),
            ("done", 1),
        ]
        assert await job.result(timeout=20) == 3
        assert (await job.refresh()).state == "done"
        again = await requester.submit("job_add", {"a": 1, "b": 2}, job_id=name)
        assert (again.job_id, again.is_duplicate) == (name, True)
        with pytest.raises(JobIdConflict):
            await requester.submit("job_add", {"a": 1, "b": 3}, job_id=name)
        with pytest.raises(WrongState):
            await job.cancel()
        await job.remove()
        with pytest.raises(UnknownJob):
            await job.result()


async def test_a_job_that_fails_is_dead_until_it_is_retried(served: Broker) -> None:
    async with Requester(served.requester_url) as requester:
        job = await requester.submit("job_fail", attempts=2, backoff=0)
        with pytest.raises(HandlerError, match="too blue") as caught:
            await job.result(timeout=20)
        assert caught.value.code == "too_blue"
        view = await job.refresh()
        assert (view.state, view.attempt, view.attempts, len(view.failed)) == ("dead", 2, 2, 2)
        found = [found.job_id async for found in requester.jobs(states=["dead"], code="too_blue")]
        assert found == [job.job_id]
        assert await requester.retry_jobs(states=["dead"], code="too_blue", dry_run=True) == 1
        assert await requester.retry_jobs(states=["dead"], code="too_blue") == 1
        with pytest.raises(HandlerError):
            await job.result(timeout=20)
        assert await requester.remove_jobs(code="too_blue") == 1


async def test_a_job_waits_for_its_time_and_its_result_can_be_waited_for_in_parts(served: Broker) -> None:
    async with Requester(served.requester_url) as requester:
        job = await requester.submit(
            "job_add", {"a": 1, "b": 1}, run_at=datetime.now(UTC) + timedelta(days=1)
        )
        with pytest.raises(JobNotEnded, match="has not ended within 0 s"):
            await job.result(timeout=0)
        with pytest.raises(JobNotEnded):
            await job.result(timeout=0.1)
        waiting = asyncio.create_task(job.result())
        await job.cancel()
        with pytest.raises(Cancelled):
            await waiting


async def test_a_request_that_no_worker_can_take_becomes_a_job(served: Broker) -> None:
    async with Requester(served.requester_url) as requester:
        job = await requester.call("job_nobody", {"n": 1}, otherwise="submit")
        assert isinstance(job, Job)
        assert (await job.refresh()).state == "accepted"
        response = await requester.request("job_nobody", otherwise="submit")
        assert response.job_id is not None
        assert response.code is None
        assert await requester.cancel_jobs(command="job_nobody") == 2
        assert await requester.call("job_add", {"a": 1, "b": 2}, otherwise="submit") == 3


async def test_what_ended_meanwhile_is_in_the_inbox(served: Broker) -> None:
    async with Requester(served.requester_url, client_id="inbox-1") as requester:
        jobs = [await requester.submit("job_add", {"a": n, "b": 1}) for n in range(3)]
    async with Requester(served.requester_url) as other:
        for job in jobs:
            await other.job(job.job_id).result(timeout=20)
    async with Requester(served.requester_url, client_id="inbox-1") as requester:
        inbox = requester.inbox()
        ended: list[EndedJob] = [await anext(inbox) for _ in jobs]
        assert {message.job_id for message in ended} == {job.job_id for job in jobs}
        assert [message.number for message in ended] == sorted(message.number for message in ended)
        ended[1].acknowledge()
        await other_round_trip(requester)
    async with Requester(served.requester_url, client_id="inbox-1") as requester:
        assert (await anext(requester.inbox())).number == ended[2].number


async def other_round_trip(requester: Requester) -> None:
    """What was sent before this has been read."""
    assert await requester.call("job_add", {"a": 1, "b": 1}) == 2


def test_schedules_and_blocking_jobs(served: Broker) -> None:
    with BlockingRequester(served.requester_url) as requester:
        view = requester.add_schedule(
            "nightly", "job_add", {"a": 1, "b": 1}, cron="30 2 * * *", time_zone="Europe/Berlin"
        )
        assert len(view.next) == 5
        job = requester.run_schedule("nightly")
        assert job.result(timeout=20) == 2
        requester.pause_schedule("nightly")
        assert requester.schedules("nightly")[0].is_paused
        requester.remove_schedule("nightly")
        with pytest.raises(UnknownJob):
            requester.schedules("nightly")


async def test_a_killed_broker_costs_a_submitter_nothing(programs: Programs) -> None:
    broker = programs.start_broker()
    start_worker(programs, broker)
    gate = programs.folder / "gate"
    ports = [
        word
        for name, url in (("--worker-port", broker.worker_url), ("--requester-port", broker.requester_url))
        for word in (name, str(urlsplit(url).port))
    ]
    async with Requester(broker.requester_url) as requester:
        waiting = await requester.submit("job_until", {"path": str(gate)})
        result = asyncio.create_task(waiting.result())
        receipts = waiting.receipts()
        steps = [(await anext(receipts)).state for _ in range(2)]
        submitting = [asyncio.create_task(requester.submit("job_add", {"a": n, "b": 0})) for n in range(200)]
        await eventually(lambda: any(task.done() for task in submitting), "the first receipt")
        broker.kill()
        await asyncio.to_thread(broker.wait)
        journal = next(programs.folder.glob("*.journal.db"))
        await asyncio.to_thread(programs.start_broker, *ports, "--journal", str(journal))
        jobs = await asyncio.gather(*submitting)
        assert len({job.job_id for job in jobs}) == 200
        assert await asyncio.gather(*(job.result(timeout=20) for job in jobs)) == list(range(200))
        gate.touch()
        assert await result == "there"
        assert steps + [receipt.state async for receipt in receipts] == ["accepted", "assigned", "done"]
        assert (await waiting.refresh()).attempt == 1  # its worker kept it


def test_the_command_line(served: Broker, programs: Programs) -> None:
    def run(*words: str) -> str:
        program = programs.start("-m", "taskferry.cli", *words, "--broker", served.requester_url)
        assert program.wait() == 0, program.stderr
        return program.stdout

    lines = programs.folder / "in.jsonl"
    lines.write_text("".join(json.dumps({"a": n, "b": 1}) + "\n" for n in range(50)))
    job_id = run("submit", "job_add", "a=1", "b=2").strip()
    assert run("job", "result", job_id, "--timeout", "20s") == "3\n"
    assert job_id in run("jobs", "--command", "job_add")
    assert "done" in run("job", "show", job_id)
    ended = run("submit", "job_add", f"@{lines}", "--wait")
    assert sorted(json.loads(line)["data"] for line in ended.splitlines()) == list(range(1, 51))
    assert run("job", "remove", job_id) == f"{job_id}: removed\n"


async def test_a_job_is_followed_with_its_progress_and_its_chunks(served: Broker, tmp_path: Path) -> None:
    file = tmp_path / "begin"
    seen: list[JobReceipt | JobChunk | Progress] = []
    async with Requester(served.requester_url) as requester:
        job = await requester.submit("job_pages", {"until": str(file)})
        async for happening in job.follow():
            seen.append(happening)
            if isinstance(happening, JobReceipt) and happening.state == "assigned":
                file.touch()
        assert_pages(seen)
        assert await job.result() == "read"


def test_a_job_is_followed_from_a_thread(served: Broker, tmp_path: Path) -> None:
    file = tmp_path / "begin"
    seen: list[JobReceipt | JobChunk | Progress] = []
    with BlockingRequester(served.requester_url) as requester:
        for happening in requester.submit("job_pages", {"until": str(file)}).follow():
            seen.append(happening)
            if isinstance(happening, JobReceipt) and happening.state == "assigned":
                file.touch()
    assert_pages(seen)


def assert_pages(seen: list[JobReceipt | JobChunk | Progress]) -> None:
    states = [happening.state for happening in seen if isinstance(happening, JobReceipt)]
    assert states == ["accepted", "assigned", "done"]
    chunks = [happening for happening in seen if isinstance(happening, JobChunk)]
    assert [(chunk.attempt, chunk.sequence, chunk.data) for chunk in chunks] == [
        (1, number, {"page": number}) for number in (1, 2, 3)
    ]
    reports = [happening for happening in seen if isinstance(happening, Progress)]
    assert (reports[-1].current, reports[-1].total) == (3, 3)
    assert seen[-1] == JobReceipt(seen[-1].job_id, "done", 1, seen[-1].worker_id)  # type: ignore[union-attr]
