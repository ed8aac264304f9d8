"""Jobs through the sockets of a broker with a real journal: what each side is sent, and when."""

import asyncio
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from taskferry.broker.broker import Broker
from taskferry.broker.jobs.ports import JournalError
from taskferry.broker.requester_session import FOLLOWED_UNSENT_SIZE_BYTES_MAX
from taskferry.broker.settings import BrokerSettings
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import PROGRESS_SIZE_BYTES_MAX

from tests.unit.broker.access_files import policy
from tests.unit.broker.job_rig import claim, job_rig, respond
from tests.unit.transport.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.mark.parametrize("worker_encoding", Encoding)
@pytest.mark.parametrize("requester_encoding", Encoding)
async def test_a_job_runs_and_its_result_is_kept(
    path: Path, requester_encoding: Encoding, worker_encoding: Encoding
) -> None:
    async with job_rig(path) as rig:
        requester = await rig.requester(requester_encoding)
        job_id = await requester.submit(data={"a": [1, "ü"]}, timeout=7200)
        worker = await rig.worker(encoding=worker_encoding)
        assignment = await worker.receive()
        assert assignment["data"] == {
            "action": "work",
            "params": {"a": [1, "ü"]},
            "timeout": 7200.0,
            "request_id": job_id,
            "job": {"job_id": job_id, "attempt": 1, "is_last": False},
            "stream": True,
        }
        respond(worker, assignment, success=True, result=[None, 2.5])
        settled = await worker.receive()
        assert (settled["type"], settled["msg_id"]) == ("settled", assignment["msg_id"])
        response = await requester.ended(job_id)
        assert (response["success"], response["data"], response["processed_by"]) == (True, [None, 2.5], "w")


async def test_requests_and_jobs_share_the_slots_of_a_worker(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        attempt = await worker.receive()
        requester.send({"command": "work", "request_id": "live"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.receive(), 0.1)
        respond(worker, attempt)
        arrived = [await worker.receive(), await worker.receive()]
        (live,) = (message for message in arrived if message["type"] == "request")
        assert "." not in live["msg_id"]
        assert "job" not in live["data"]
        respond(worker, live)
        assert (await requester.peer.receive())["request_id"] == "live"
        assert (await requester.ended(job_id))["success"]


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "submit"}, "bad_request", "command: missing"),
    ({"type": "submit", "command": "work", "timeout": 604_801}, "bad_request", "timeout: "),
    ({"type": "submit", "command": "work", "attempts": 0}, "bad_request", "attempts: "),
    ({"type": "submit", "command": "work", "data": "x" * 1_045_000}, "too_large", "data: 1045002 bytes"),
    ({"type": "await", "job_id": "j", "timeout": -1}, "bad_request", "timeout: "),
    ({"type": "cancel", "job_id": "j", "filter": {}}, "bad_request", "job_id, filter: give one of them"),
    ({"type": "cancel", "filter": {"state": "dead"}}, "bad_request", "filter: "),
    ({"type": "cancel", "job_id": "nobody's"}, "unknown_job", "No such job"),
    ({"type": "job", "job_id": "nobody's"}, "unknown_job", "No such job"),
]


async def test_what_is_wrong_is_refused_under_its_request_id(path: Path) -> None:
    async with job_rig(path) as rig:
        requester = await rig.requester()
        for message, code, text in BAD:
            request_id = requester.send(message)
            failure = await requester.peer.receive()
            assert (failure["request_id"], failure["code"]) == (request_id, code), message
            assert failure["error"].startswith(text), failure


async def test_without_a_journal_nothing_is_kept_and_requests_go_on(path: Path) -> None:
    async with job_rig(path, journal="none", start_wait_s=0) as rig:
        requester = await rig.requester()
        failure = await requester.ask("submit", command="work")
        assert (failure["code"], failure["delivery"]) == ("jobs_off", "not_delivered")
        assert (await requester.ask("list"))["code"] == "jobs_off"
        requester.send({"command": "work", "otherwise": "submit"})
        assert (await requester.peer.receive())["code"] == "no_available_workers"
        lost = {"msg_id": "k7f2q.1", "job_id": "j", "attempt": 1}
        worker = await rig.worker(running=(lost,))
        requester.send({"command": "work", "request_id": "live"})
        assert [(await worker.receive())["type"] for _ in range(2)] == ["settled", "request"]
    assert not path.exists()


async def test_an_attempt_goes_on_over_a_restart_of_the_broker(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        assignment = await worker.receive()
        waiting = await requester.submit()
        await rig.restart()
        assert (await worker.receive())["type"] == "disconnect", "it is not told to cancel"
        worker = await rig.worker(running=(claim(assignment),))
        requester = await rig.requester()
        assert (await requester.view(job_id))["state"] == "assigned"
        respond(worker, assignment, success=True, result="kept")
        assert (await requester.ended(job_id))["data"] == "kept"
        arrived = [await worker.receive(), await worker.receive()]
        (settled,) = (message for message in arrived if message["type"] == "settled")
        (second,) = (message for message in arrived if message["type"] == "request")
        assert settled["msg_id"] == assignment["msg_id"]
        assert second["data"]["request_id"] == waiting
        view = await requester.view(job_id)
        assert (view["attempt"], view.get("losses", 0)) == (1, 0)


async def test_an_attempt_moves_to_the_workers_new_connection(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, old = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        assignment = await old.receive()
        new = await rig.worker(running=(claim(assignment),))
        await old.closed()
        respond(new, assignment)
        assert (await requester.ended(job_id))["success"]
        assert (await requester.view(job_id))["attempt"] == 1


async def test_what_was_not_adopted_is_settled_before_anything_is_assigned(path: Path) -> None:
    async with job_rig(path) as rig:
        requester = await rig.requester()
        await requester.submit()
        lost = {"msg_id": "k7f2q.1", "job_id": "gone", "attempt": 1}
        worker = await rig.worker(running=(lost,))
        settled, assignment = await worker.receive(), await worker.receive()
        assert (settled["type"], settled["msg_id"]) == ("settled", "k7f2q.1")
        assert assignment["type"] == "request"


async def test_a_claim_of_a_command_that_the_worker_does_not_serve_changes_nothing(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        assignment = await worker.receive()
        thief = await rig.worker("thief", commands=["other"], running=(claim(assignment),))
        assert (await thief.receive())["type"] == "settled"
        respond(worker, assignment)
        assert (await requester.ended(job_id))["processed_by"] == "w"


@pytest.mark.parametrize("number", [0, 2, 2**63, 10**30])
async def test_a_claim_with_the_number_of_another_attempt_does_not_go_on_and_harms_nothing(
    path: Path, number: int
) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        assignment = await worker.receive()
        await rig.restart()
        if number:
            worker = await rig.worker(running=({**claim(assignment), "attempt": number},))
            assert (await worker.receive())["type"] == "settled"
        requester = await rig.requester()
        assert await requester.submit(), "the journal can be written"
        assert (await requester.view(job_id))["attempt"] == 1


@pytest.mark.parametrize(
    ("size", "state"),
    [(1024 * 1024 - 4096, "done"), (1024 * 1024 - 4095, "dead"), (1024 * 1024 - 500, "dead")],
)
async def test_a_result_that_nobody_could_fetch_is_a_failure(path: Path, size: int, state: str) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        respond(worker, await worker.receive(), success=True, result="x" * (size - 2))
        response = await requester.ended(job_id)
        assert response.get("code") == (None if state == "done" else "too_large")
        view = await requester.view(job_id)
        assert (view["state"], view["attempt"]) == (state, 1)


async def test_what_is_answered_too_late_is_settled(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        worker.send({"type": "response", "msg_id": "k7f2q.1", "data": {"success": True}})
        assert (await worker.receive())["type"] == "settled"
        job_id = await requester.submit()
        assignment = await worker.receive()
        assert (await requester.ask("cancel", job_id=job_id))["count"] == 1
        assert (await worker.receive())["type"] == "cancel"
        respond(worker, assignment)
        settled = await worker.receive()
        assert (settled["type"], settled["msg_id"]) == ("settled", assignment["msg_id"])
        assert (await requester.ended(job_id))["code"] == "cancelled"


async def test_a_worker_that_stops_in_order_costs_its_jobs_nothing(path: Path) -> None:
    async with job_rig(path, adoption_s=0.05) as rig:
        requester, worker = await rig.requester(), await rig.worker("first")
        job_id = await requester.submit()
        await worker.receive()
        worker.send({"type": "disconnect"})
        assert (await worker.receive())["type"] == "disconnect"
        worker.link.abort("it is gone")
        second = await rig.worker("second")
        respond(second, await second.receive())
        assert (await requester.ended(job_id))["success"]
        assert (await requester.view(job_id)).get("losses", 0) == 0


async def test_a_worker_is_kept_alive_while_its_claims_are_judged(path: Path) -> None:
    async with job_rig(path) as rig:
        requester = await rig.requester()
        await requester.submit("other")
        worker = await rig.worker_connection()
        lost = {"msg_id": "k7f2q.1", "job_id": "gone", "attempt": 1}
        worker.send({"type": "connect", "data": {"commands": ["work"], "running": [lost]}})
        worker.send({"type": "heartbeat", "msg_id": "h"})
        worker.send({"type": "response", "msg_id": "k7f2q.1", "data": {"success": True}})
        arrived = [await worker.receive() for _ in range(4)]
        assert [message["type"] for message in arrived] == ["heartbeat", "error", "connect", "settled"]
        assert arrived[1]["data"]["code"] == "bad_message"


async def test_progress_is_shown(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker(encoding=Encoding.MSGPACK)
        job_id = await requester.submit()
        assignment = await worker.receive()
        progress = {"progress": 0.5, "text": "page 4 of 8"}
        worker.send({"type": "notification", "msg_id": assignment["msg_id"], "data": progress})
        much = "x" * PROGRESS_SIZE_BYTES_MAX
        worker.send({"type": "notification", "msg_id": assignment["msg_id"], "data": much})
        complaint = (await worker.receive())["data"]
        assert (complaint["code"], complaint["error"]) == (
            "bad_message",
            "data: 4099 bytes of progress, at most 4096",
        )
        assert (await requester.view(job_id))["progress"] == progress


async def test_a_job_that_is_followed_sends_its_progress_and_its_chunks(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker(encoding=Encoding.MSGPACK)
        job_id = await requester.submit()
        msg_id = (await worker.receive())["msg_id"]
        worker.send({"type": "chunk", "msg_id": msg_id, "sequence": 1, "data": "before"})
        assert (await worker.receive())["data"] == {"sequence": 1}
        await requester.ask("job", job_id=job_id, receipts=True)
        worker.send({"type": "chunk", "msg_id": msg_id, "sequence": 2, "data": float("nan")})  # not for JSON
        worker.send({"type": "notification", "msg_id": msg_id, "data": {"progress": 0.5}})
        worker.send({"type": "chunk", "msg_id": msg_id, "sequence": 3, "data": [3]})
        head = {"job_id": job_id, "attempt": 1}
        assert [await requester.peer.receive() for _ in range(2)] == [
            {"type": "progress", **head, "sequence": 2, "data": {"progress": 0.5}},
            {"type": "chunk", **head, "sequence": 3, "data": [3]},
        ]


async def test_a_follower_that_does_not_read_misses_chunks_and_holds_up_no_job(path: Path) -> None:
    size_bytes = 256 * 1024
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        job_id = await requester.submit()
        msg_id = (await worker.receive())["msg_id"]
        await requester.ask("job", job_id=job_id, receipts=True)
        group = rig.broker.read_model.links
        assert group is not None
        requester.peer.link._transport.pause_reading()
        sequence = unsent_size_bytes = 0
        while unsent_size_bytes <= FOLLOWED_UNSENT_SIZE_BYTES_MAX or sequence < 200:
            sequence += 1
            worker.send(
                {"type": "chunk", "msg_id": msg_id, "sequence": sequence, "data": "x" * (size_bytes - 2)}
            )
            assert (await worker.receive())["data"] == {"sequence": sequence}
            unsent_size_bytes = group.unsent_size_bytes
        assert unsent_size_bytes <= FOLLOWED_UNSENT_SIZE_BYTES_MAX + 2 * size_bytes
        requester.peer.link._transport.resume_reading()
        received = [(await requester.peer.receive())["sequence"]]
        while group.unsent_size_bytes:
            received.append((await requester.peer.receive())["sequence"])
        sequence += 1
        worker.send({"type": "chunk", "msg_id": msg_id, "sequence": sequence, "data": "last"})
        while received[-1] != sequence:
            received.append((await requester.peer.receive())["sequence"])
        assert received == sorted(set(received))
        assert len(received) < sequence, "the hole"


# --- otherwise: submit -------------------------------------------------------------------------------------------


async def test_what_cannot_be_delivered_becomes_a_job(path: Path) -> None:
    async with job_rig(path, start_wait_s=0) as rig:
        requester = await rig.requester()
        requester.send({"request_id": "r1", "command": "work", "data": {"n": 1}, "otherwise": "submit"})
        receipt = await requester.peer.receive()
        assert (receipt["type"], receipt["request_id"]) == ("receipt", "r1")
        worker = await rig.worker()
        assignment = await worker.receive()
        assert assignment["data"]["params"] == {"n": 1}
        assert assignment["data"]["job"]["is_last"], "it may not run twice: it is not idempotent"
        requester.send({"request_id": "r2", "command": "work", "otherwise": "submit", "timeout": 0.05})
        assert (await requester.peer.receive())["type"] == "receipt"


async def test_what_is_delivered_or_wrong_does_not_become_one(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker(concurrency=2)
        requester.send({"request_id": "r1", "command": "work", "otherwise": "submit"})
        assignment = await worker.receive()
        requester.send({"request_id": "r1", "command": "work", "otherwise": "submit"})
        assert (await requester.peer.receive())["code"] == "duplicate_request_id"
        respond(worker, assignment, success=False, error="no", code="overloaded")
        assert (await requester.peer.receive())["code"] == "handler_error"
        requester.send({"request_id": "r2", "command": "work", "otherwise": "submit"})
        respond(worker, await worker.receive())
        assert (await requester.peer.receive())["success"]
        requester.send({"request_id": "r3", "command": "work", "otherwise": "retry"})
        assert (await requester.peer.receive())["code"] == "bad_request"
        assert (await requester.ask("list"))["jobs"] == []


# --- rights and rates --------------------------------------------------------------------------------------------


async def test_one_sees_ones_own_jobs_or_all_or_none(path: Path) -> None:
    rules = policy(
        alice='call = ["work"]\njobs = "own"',
        bob='call = ["*"]\njobs = "own"',
        carol='call = ["*"]\njobs = "all"',
        dave='call = ["work"]',
        worker='serve = ["*"]',
    )
    async with job_rig(path, rules) as rig:
        people = {name: await rig.requester(identity=name) for name in ("alice", "bob", "carol", "dave")}
        job_id = await people["alice"].submit()
        assert (await people["alice"].ask("submit", command="other"))["code"] == "forbidden"
        assert (await people["alice"].ask("submit", command="work", target="w"))["code"] == "forbidden"
        assert (await people["alice"].view(job_id))["owner"] == "alice"
        assert (await people["bob"].ask("job", job_id=job_id))["code"] == "unknown_job"
        assert (await people["bob"].ask("list"))["jobs"] == []
        assert [job["job_id"] for job in (await people["carol"].ask("list"))["jobs"]] == [job_id]
        dave = people["dave"]
        await dave.submit()
        for type_ in ("list", "schedules"):
            failure = await dave.ask(type_)
            assert (failure["code"], failure["error"]) == (
                "forbidden",
                "dave may not see or change jobs: no rule grants it",
            )
        assert (await people["carol"].ask("cancel", filter={"owner": "alice"}))["count"] == 1


async def test_submissions_count_like_requests_and_so_does_a_cancel_of_jobs(path: Path) -> None:
    async with job_rig(path, account_messages_per_s=1) as rig:
        requester = await rig.requester()
        await requester.submit()
        await requester.submit()
        for message in (
            {"type": "submit", "command": "work"},
            {"type": "await", "job_id": "j", "timeout": 7200},
            {"type": "cancel", "filter": {}},
        ):
            request_id = requester.send(message)
            failure = await requester.peer.receive()
            assert failure["code"] == "rate_limited", message
            assert failure["request_id"] == request_id


# --- the journal -------------------------------------------------------------------------------------------------


async def test_a_journal_that_fails_refuses_jobs_and_no_request(path: Path) -> None:
    path = path.parent / "folder" / path.name
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        shutil.rmtree(path.parent)  # the database is made by the first submission
        failure = await requester.ask("submit", command="work")
        assert (failure["code"], failure["delivery"]) == ("journal_failed", "not_delivered")
        requester.send({"request_id": "live", "command": "work"})
        respond(worker, await worker.receive())
        assert (await requester.peer.receive())["success"]


async def test_two_brokers_never_share_a_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(path.parent))
    async with job_rig(path) as first:
        assert first.broker.job_desk is not None
        named = Broker(BrokerSettings(worker_port=0, requester_port=0, api_port=0, journal=str(path)))
        with pytest.raises(JournalError, match="another"):
            await named.start()
        async with job_rig(path, journal=None) as second:
            assert second.broker.job_desk is None
            requester = await second.requester()
            assert (await requester.ask("submit", command="work"))["code"] == "jobs_off"


# --- the end and the clock ---------------------------------------------------------------------------------------


async def test_a_drain_lets_attempts_end_and_begins_none(path: Path) -> None:
    async with job_rig(path) as rig:
        requester, worker = await rig.requester(), await rig.worker()
        running, waiting = await requester.submit(), await requester.submit()
        assignment = await worker.receive()
        restart = asyncio.create_task(rig.restart(20))
        await until(lambda: rig.broker.core.is_draining)
        late = await requester.submit()
        respond(worker, assignment)
        arrived = [await worker.receive(), await worker.receive()]
        assert [message["type"] for message in arrived] == ["settled", "disconnect"]
        await restart
        requester = await rig.requester()
        assert (await requester.view(running))["state"] == "done"
        for job_id in (waiting, late):
            view = await requester.view(job_id)
            assert (view["state"], view.get("attempt", 0)) == ("accepted", 0)


async def test_a_worker_that_was_away_is_not_given_up_because_the_broker_stood_still(path: Path) -> None:
    async with job_rig(path) as rig:
        desk = rig.broker.job_desk
        assert desk is not None
        desk.jobs.reconfigure(dataclasses.replace(desk.jobs.settings, adoption_s=0.8))
        requester = await rig.requester()
        worker = await rig.worker()
        job_id = await requester.submit()
        assignment = await worker.receive()
        worker.link.abort("the network fails")
        await until(lambda: bool(desk.jobs.orphans.jobs))
        time.sleep(2.0)
        worker = await rig.worker(running=(claim(assignment),))
        respond(worker, assignment)
        assert (await worker.receive())["type"] == "settled"
        view = await requester.view(job_id)
        assert (view["state"], view.get("losses", 0)) == ("done", 0)


async def test_a_suspended_machine_gives_no_worker_up_before_it_could_come_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the wall clock goes on meanwhile, and the first to notice may be the timer."""
    async with job_rig(path) as rig:
        desk = rig.broker.job_desk
        assert desk is not None
        requester = await rig.requester()
        worker = await rig.worker()
        job_id = await requester.submit()
        assignment = await worker.receive()
        worker.link.abort("the network fails")
        await until(lambda: bool(desk.jobs.orphans.jobs))
        real = time.time
        monkeypatch.setattr("taskferry.broker.job_desk.time.time", lambda: real() + 3601)
        desk._due()
        assert desk.jobs.orphans.jobs
        assert "the clock was set by +3601.0 s" in caplog.text
        worker = await rig.worker(running=(claim(assignment),))
        respond(worker, assignment)
        assert (await worker.receive())["type"] == "settled"
        assert (await requester.view(job_id))["state"] == "done"


async def test_a_clock_that_is_set_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with job_rig(path) as rig:
        desk = rig.broker.job_desk
        assert desk is not None
        requester = await rig.requester()
        job_id = await requester.submit(delay=3600)
        worker = await rig.worker()
        real = time.time
        monkeypatch.setattr("taskferry.broker.job_desk.time.time", lambda: real() + 3601)
        desk.check()
        assert (await worker.receive())["data"]["request_id"] == job_id
        assert "the clock was set by +3601.0 s" in caplog.text
