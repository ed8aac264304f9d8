"""An explanation of a job says in one sentence what it waits for, or where it runs, whatever its state is."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw
from taskferry.broker import job_explanation
from taskferry.broker.http.server import make_app
from taskferry.broker.jobs.ports import JournalError

from tests.unit.broker.kept_jobs import Keeper, keeping_jobs
from tests.unit.transport.waiting import until


@asynccontextmanager
async def explaining(folder: Path, **settings: Any) -> AsyncIterator[tuple[Keeper, "Explain"]]:
    async with keeping_jobs(folder, **settings) as keeper:
        broker = keeper.broker
        app = make_app(broker.read_model, broker.operations, broker.entrance)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield keeper, Explain(client)


class Explain:
    """Asks `/api/explain/ID`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def answer(self, job_id: str) -> dict[str, Any]:
        found = await self.client.get(f"/api/explain/{job_id}")
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        return answer

    async def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = (await self.answer(job_id))["job"]
        assert "secret" not in str(job)
        return job

    async def summary(self, job_id: str) -> str:
        """The sentence, with its times replaced."""
        text: str = (await self.job(job_id))["summary"]
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DATE", text)
        return re.sub(r"\d+(\.\d+)? s\b", "N s", text)


async def test_a_job_without_a_worker_for_its_command_or_its_target(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        await keeper.submit("j1")
        assert await explain.summary("j1") == "waits for a worker: none that is connected serves resize"
        keeper.worker("w1", "resize", zone="b")
        await keeper.submit("j2", target={"zone": "a"})
        assert await explain.summary("j2") == (
            "waits for a worker: none of those that serve resize matches its target, or they drain"
        )
        job = await explain.job("j2")
        assert job["target"] == {"zone": "a"}
        assert [(row["worker_id"], row["reason"]) for row in job["workers"]] == [
            ("w1", "labels do not match: zone is b")
        ]


async def test_a_job_runs_waits_next_in_line_or_further_back(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        keeper.desk.jobs.windows.count_min = 4
        keeper.worker("w1", "resize", slots_count=1)
        for number in range(8):
            await keeper.submit(f"j{number}", attempts=3)
        await keeper.assigned("j0", "w1")
        assert await explain.summary("j0") == "runs at w1: attempt 1 of 3, for N s"
        assert await explain.summary("j1") == (
            "is next and waits for a free slot at its worker; "
            "clients take turns, and one priority class is worth N s of waiting"
        )
        answer = await explain.answer("j1")
        assert [request["state"] for request in answer["requests"]] == ["waiting"]
        await until(lambda: keeper.desk.jobs.lanes[1].loaded_count == 4)
        await until(lambda: not keeper.desk.jobs.lives.unrecorded)  # else the disk has the first as waiting
        assert (await explain.job("j1"))["jobs_before_count"] is None, (
            "it is in the line that `requests` shows"
        )
        # One runs, four are next, three are on disk.
        job = await explain.job("j7")
        assert job["summary"] == "waits for a free slot: 6 jobs go before it"
        assert job["jobs_before_count_is_exact"]


async def test_a_job_whose_time_has_not_come_or_that_waits_after_a_failure(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        await keeper.submit("delayed", delay=60)
        assert await explain.summary("delayed") == "waits until DATE, in N s"
        worker = keeper.worker("w1", "resize")
        await keeper.submit("failing", attempts=2, backoff=60)
        msg_id = await keeper.assigned("failing", "w1")
        keeper.broker.core.failed(worker, msg_id, "secret words", None, keeper.now)
        await until(lambda: keeper.desk.jobs.counts.assigned_count == 0)
        assert (
            await explain.summary("failing")
            == "waits until DATE, in N s, after attempt 1 ended with handler_error"
        )


async def test_a_job_that_waits_for_others_names_them(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        for number in range(5):
            await keeper.submit(f"first-{number}")
        await keeper.submit("last", after=[f"first-{number}" for number in range(5)])
        assert await explain.summary("last") == (
            "waits until other jobs are done: first-0 (accepted), first-1 (accepted), first-2 (accepted) and 2 more"
        )
        assert len((await explain.job("last"))["waits_for"]) == 5


async def test_a_job_that_waits_for_its_key_names_those_that_have_it(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        keeper.worker("w1", "resize", slots_count=4)
        await keeper.submit("first", key="user-7")
        await keeper.assigned("first", "w1")
        await keeper.submit("second", key="user-7")
        await until(lambda: keeper.desk.jobs.counts.held_count == 1)
        assert (
            await explain.summary("second")
            == "waits for its turn with the key user-7: first (assigned) has it"
        )


async def test_a_job_whose_worker_is_gone_for_a_moment(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        worker = keeper.worker("w1", "resize")
        await keeper.submit("j1")
        await keeper.assigned("j1", "w1")
        keeper.broker.core.worker_left(worker, keeper.now)
        assert await explain.summary("j1") == (
            "waits for w1 to come back, which had attempt 1 of 10 when its connection was lost: for a few seconds, "
            "then it is assigned again"
        )


async def test_a_job_that_has_ended(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        worker = keeper.worker("w1", "resize")
        await keeper.submit("well")
        keeper.broker.core.succeeded(worker, await keeper.assigned("well", "w1"), Raw(b"1"), keeper.now)
        await keeper.submit("badly", attempts=1)
        msg_id = await keeper.assigned("badly", "w1")
        keeper.broker.core.failed(worker, msg_id, "secret words", "own_code", keeper.now)
        await until(lambda: sum(keeper.desk.jobs.counts.kept.values()) == 2)
        assert await explain.summary("well") == "is done; it ended N s ago"
        assert await explain.summary("badly") == "is dead; it ended N s ago: own_code, after 1 attempt"


async def test_what_there_is_not_is_said_and_a_silent_journal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_explanation, "ANSWER_S_MAX", 0.05)
    async with explaining(tmp_path) as (keeper, explain):
        unknown = await explain.client.get("/api/explain/j1")
        assert unknown.status_code == 404
        assert unknown.json()["error"].endswith("; and there is no such job")
        await keeper.submit("j1")
        read = keeper.desk.journal.read
        keeper.desk.journal.read = lambda query, then: None  # type: ignore[method-assign]
        silent = await explain.client.get("/api/explain/j1")
        assert (silent.status_code, silent.json()["error"]) == (
            503,
            "the journal has not answered within 0.05 s",
        )
        keeper.desk.journal.read = lambda query, then: then(JournalError("journal /x: broken"))  # type: ignore[method-assign]
        broken = await explain.client.get("/api/explain/j1")
        assert broken.status_code == 503
        keeper.desk.journal.read = read  # type: ignore[method-assign]


async def test_without_an_id_the_oldest_are_listed(tmp_path: Path) -> None:
    async with explaining(tmp_path) as (keeper, explain):
        await keeper.submit("j1")
        answer = (await explain.client.get("/api/explain")).json()
        assert answer["requests"] == []
        assert [job["job_id"] for job in answer["jobs"]["oldest"]] == ["j1"]
        assert answer["jobs"]["states"]["ready"] == 1
