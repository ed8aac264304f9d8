"""What is read of jobs is what has become of them: for metrics, `/api/status`, `/api/jobs` and readiness."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw
from prometheus_client.parser import text_string_to_metric_families
from taskferry.broker import job_reading
from taskferry.broker.broker import Broker
from taskferry.broker.http.server import make_app
from taskferry.broker.jobs.ports import JournalError
from taskferry.broker.metrics.jobs import JOBS
from taskferry.broker.settings import BrokerSettings

from tests.unit.broker.kept_jobs import Keeper, keeping_jobs
from tests.unit.transport.waiting import until


@asynccontextmanager
async def client_of(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(broker.read_model, broker.operations, broker.entrance)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


async def some_of_each(keeper: Keeper) -> None:
    """A job that is done, one that is dead, and one in each of the open states."""
    worker = keeper.worker("w1", "resize", slots_count=1)
    for job_id in ("done", "dead", "assigned"):
        await keeper.submit(job_id, attempts=1)
        msg_id = await keeper.assigned(job_id, "w1")
        if job_id == "done":
            keeper.broker.core.succeeded(worker, msg_id, Raw(b'"result"'), keeper.now)
        elif job_id == "dead":
            keeper.broker.core.failed(worker, msg_id, "secret words", "own_code", keeper.now)
    await keeper.submit("ready", command="mail", priority=7)
    await keeper.submit("delayed", command="mail", delay=60)
    await keeper.submit("held", after=["assigned"])
    duplicate = await keeper.submit("ready", command="mail", priority=7)
    assert duplicate.duplicate


def values(text: str) -> dict[tuple[str, ...], float]:
    """Samples of jobs and journal, by name and label values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("taskferry_jo", "taskferry_schedule", "taskferry_inbox"))
    }


async def test_metrics_count_jobs_by_state_and_outcome(tmp_path: Path) -> None:
    async with keeping_jobs(tmp_path) as keeper, client_of(keeper.broker) as client:
        await some_of_each(keeper)
        text = (await client.get("/metrics")).text
        found = values(text)
        for state in job_reading.STATES:
            assert found["taskferry_jobs", state] == (state != "cancelled"), state
        assert found["taskferry_jobs_submitted_total",] == 6
        assert found["taskferry_job_duplicates_total",] == 1
        assert found["taskferry_jobs_ended_total", "success", "done"] == 1
        assert found["taskferry_jobs_ended_total", "handler_error", "dead"] == 1
        assert found["taskferry_job_attempts_total", "success"] == 1
        assert found["taskferry_job_attempts_total", "handler_error"] == 1
        assert found["taskferry_jobs_oldest_ready_seconds",] >= 0
        assert found["taskferry_jobs_bound", "open_count_max"] == keeper.desk.jobs.settings.open_count_max
        assert found["taskferry_journal_failing",] == 0
        assert found["taskferry_journal_size_bytes",] > 0
        assert found["taskferry_journal_free_bytes",] > 0
        assert found["taskferry_journal_rows_total",] >= 6
        assert found["taskferry_journal_commit_duration_seconds_count",] >= 6
        for family in JOBS:
            assert f"# TYPE {family.name} " in text
        assert "secret" not in text


async def test_without_jobs_there_are_no_such_families_and_no_views() -> None:
    broker = Broker(BrokerSettings(journal="none"))
    async with client_of(broker) as client:
        assert values((await client.get("/metrics")).text) == {("taskferry_jobs_unavailable",): 0}
        assert (await client.get("/api/status")).json()["jobs"] is None
        assert (await client.get("/api/jobs")).status_code == 404
        assert (await client.get("/api/explain")).json()["jobs"] is None
        unknown = await client.get("/api/explain/j1")
        assert unknown.status_code == 404
        assert unknown.json()["error"].endswith("this broker keeps no jobs")


async def test_the_views_of_jobs_have_no_data(tmp_path: Path) -> None:
    async with keeping_jobs(tmp_path) as keeper, client_of(keeper.broker) as client:
        await some_of_each(keeper)
        shown = await client.get("/api/jobs")
        jobs = shown.json()
        assert jobs["states"] == {state: int(state != "cancelled") for state in job_reading.STATES}
        rows = {row.pop("command"): row for row in jobs["commands"]}
        assert rows == {
            "mail": {"ready": 1, "delayed": 1, "assigned": 0, "loaded": 0},
            "resize": {"ready": 0, "delayed": 0, "assigned": 1, "loaded": 0},
        }
        (oldest,) = jobs["oldest"]
        assert (oldest["job_id"], oldest["command"], oldest["priority"]) == ("ready", "mail", 7)
        assert oldest["ready_s"] >= 0
        status = await client.get("/api/status")
        assert status.json()["jobs"]["ended"] == {"done": 1, "dead: handler_error": 1}
        assert status.json()["jobs"]["journal"]["path"] == str(tmp_path / "journal.db")
        assert "secret" not in shown.text + status.text


async def test_a_broker_whose_journal_fails_is_ready_and_says_so(tmp_path: Path) -> None:
    async with keeping_jobs(tmp_path) as keeper, client_of(keeper.broker) as client:
        assert (await client.get("/readyz")).text == "ready\n"
        await keeper.submit("first")
        keeper.desk.journal.is_failing = True
        keeper.desk.watch.failed(JournalError("journal /x: the disk is full"))
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert ready.text == "ready for requests; jobs are refused, for the journal cannot be written\n"
        assert (await client.get("/api/status")).json()["jobs"]["journal"][
            "error"
        ] == "journal /x: the disk is full"
        assert values((await client.get("/metrics")).text)["taskferry_journal_failing",] == 1


async def test_the_journal_is_surveyed_once_for_all_who_read_at_once(tmp_path: Path) -> None:
    async with keeping_jobs(tmp_path) as keeper:
        await keeper.submit("first")
        asked: list[object] = []
        read = keeper.desk.journal.read

        def counted(query: Any, then: Callable[[Any], None]) -> None:
            asked.append(query)
            read(query, then)

        keeper.desk.journal.read = counted  # type: ignore[method-assign]
        await asyncio.gather(*(keeper.reading.refresh() for _ in range(5)))
        assert len(asked) == 1
        assert keeper.reading.states()["ready"] == 1


async def test_a_journal_that_does_not_answer_holds_no_reader_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_reading, "SURVEY_WAIT_S_MAX", 0.01)
    async with keeping_jobs(tmp_path) as keeper:
        await keeper.submit("first")
        read, waiting = keeper.desk.journal.read, []
        keeper.desk.journal.read = lambda *question: waiting.append(question)  # type: ignore[method-assign]
        await keeper.reading.refresh()
        await keeper.reading.refresh()
        assert len(waiting) == 1
        assert keeper.reading.oldest_ready_s() is None
        keeper.desk.journal.read = read  # type: ignore[method-assign]
        read(*waiting[0])
        await until(lambda: keeper.reading.oldest_ready_s() is not None)


async def test_a_broker_that_could_not_open_its_default_journal_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    async with keeping_jobs(tmp_path):  # another broker
        broker = Broker(BrokerSettings(worker_port=0, requester_port=0, api_port=0))
        await broker.start()
        async with client_of(broker) as client:
            status = (await client.get("/api/status")).json()
            assert status["jobs"] is None
            assert "another broker" in status["jobs_error"]
            assert "taskferry_jobs_unavailable 1\n" in (await client.get("/metrics")).text
        await broker.stop(0.0)


async def test_a_user_without_a_home_has_a_broker_without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    broker = Broker(BrokerSettings(worker_port=0, requester_port=0, api_port=0))
    await broker.start()
    assert broker.read_model.jobs_error == "this user has no home directory: name a journal with --journal"
    await broker.stop(0.0)
