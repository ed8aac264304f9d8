"""What sessions do about logins, rights and rates, over real links: nothing is done for those who may not."""

import datetime
import itertools
import time
from typing import Any

import pytest
from taskferry.broker.access import usage
from taskferry.broker.access.counts import Limit
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.broker.entrance import SLICE_COUNT_MAX
from taskferry.broker.entrance_counts import Ended
from taskferry.broker.entrant import FAILED_RENEWALS_COUNT_MAX
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import EXPIRY_NOTICE_S

from tests.unit.broker.access_files import expiring, policy, token_of
from tests.unit.broker.shell import Peer, Shell, open_shell
from tests.unit.transport.waiting import until

RIGHTS = {
    "alice": 'call = ["work", "echo"]',
    "bob": 'call = ["*"]\ntarget = ["gpu=yes"]',
    "crew": 'serve = ["work"]',
}
ACCESS = policy(**RIGHTS)


async def call(requester: Peer, command: str, **fields: Any) -> Any:
    """A request that is refused, and its answer."""
    requester.send({"request_id": "r", "command": command, **fields})
    return await requester.receive()


# --- rights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_command_without_its_right_is_forbidden_and_the_core_never_sees_it(
    encoding: Encoding,
) -> None:
    async with open_shell(ACCESS) as shell:
        requester = await shell.requester(encoding, "alice")
        failure = await call(requester, "drop")
        assert failure == {
            "request_id": "r",
            "success": False,
            "data": None,
            "error": "alice may not call 'drop': no rule grants it",
            "processed_by": None,
            "code": "forbidden",
            "delivery": "not_delivered",
        }
        assert shell.core.counts.submitted_count == 0
        assert shell.core.counts.refused == {"forbidden": 1}
        assert (await call(requester, "echo"))["code"] == "no_available_workers"


async def test_a_command_without_its_right_is_not_suggested() -> None:
    async with open_shell(
        policy(alice='call = ["echo", "wrok"]', bob='call = ["*"]', crew='serve = ["*"]')
    ) as shell:
        await shell.worker(identity="crew", name="w1")
        for identity, end in (("alice", "start one that does"), ("bob", "did you mean work?")):
            requester = await shell.requester(identity=identity)
            shell.core._delivery._lack._search_at = 0.0
            error = (await call(requester, "wrok"))["error"]
            assert error == f"No available workers: no worker serves 'wrok'; {end}"


async def test_a_target_needs_its_own_right_at_each_call() -> None:
    async with open_shell(ACCESS) as shell:
        requester = await shell.requester(identity="bob")
        assert (await call(requester, "work"))["code"] == "no_available_workers"
        assert (await call(requester, "work", target="w1"))["error"].startswith("bob may not target 'w1'")
        assert (await call(requester, "work", target={"gpu": "yes"}))["code"] == "no_available_workers"
        assert (await call(requester, "work", target={"gpu": ["yes", "no"]}))["code"] == "forbidden"


async def test_a_worker_serves_what_it_may_and_is_told_of_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    async with open_shell(ACCESS) as shell:
        peer = await shell.worker_connection(identity="crew")
        commands = ["drop", "work", *(f"extra-{number}" for number in range(15))]
        hello = {"commands": commands, "name": "w1", "canary": "drop"}
        peer.send({"type": "connect", "msg_id": "m", "data": hello})
        assert (await peer.receive())["type"] == "connect"
        error = await peer.receive()
        assert (error["msg_id"], error["data"]["code"]) == ("m", "forbidden")
        assert error["data"]["error"].startswith("data.commands: crew may not serve drop, extra-0, ")
        assert error["data"]["error"].endswith(" and 6 more; it serves the others")
        line = caplog.records[-1].getMessage()
        assert line.startswith("worker w1 of crew may not serve drop, extra-0, ")
        assert line.endswith(" and 6 more"), "a thousand names would make a line of 100 KB"
        worker = shell.core.roster.workers["w1"]
        assert [command.name for command in worker.commands] == ["work"]
        assert (worker.canary, worker.identity, worker.state) == (None, "crew", WorkerState.HEALTHY)
        assert shell.read_model.workers()[0].identity == "crew"


async def test_a_worker_that_may_serve_nothing_is_refused() -> None:
    async with open_shell(ACCESS) as shell:
        peer = await shell.worker_connection(identity="crew")
        peer.send({"type": "connect", "msg_id": "m", "data": {"commands": ["drop"]}})
        error = await peer.receive()
        assert (error["msg_id"], error["data"]["code"]) == ("m", "forbidden")
        assert (await peer.closed()).startswith("closed by peer: 4403")
        assert not shell.core.roster.workers


async def test_the_name_of_a_worker_belongs_to_its_identity() -> None:
    async with open_shell(policy(**RIGHTS, other='serve = ["work"]')) as shell:
        await shell.worker(identity="crew", name="w1", instance="i1")
        thief = await shell.worker_connection(identity="other")
        thief.send({"type": "connect", "data": {"commands": ["work"], "name": "w1", "instance": "i1"}})
        assert (await thief.receive())["data"]["code"] == "worker_id_taken"
        await shell.worker(identity="crew", name="w1", instance="i1")


async def test_ids_of_others_do_nothing() -> None:
    async with open_shell(ACCESS) as shell:
        worker = await shell.worker(identity="crew", name="w1")
        thief = await shell.worker(identity="crew", name="w2", concurrency=1)
        alice, bob = await shell.requester(identity="alice"), await shell.requester(identity="bob")
        alice.send({"request_id": "r1", "command": "work"})
        await until(lambda: worker.recorder.messages[1:] or thief.recorder.messages[1:])
        holder, other = (worker, thief) if worker.recorder.messages[1:] else (thief, worker)
        msg_id = (await holder.receive())["msg_id"]
        bob.send({"type": "cancel", "request_id": "r1"})
        bob.send({"type": "ping"})
        assert (await bob.receive())["type"] == "pong"
        other.send({"type": "response", "msg_id": msg_id, "data": {"success": True, "result": "forged"}})
        assert (await other.receive())["data"]["code"] == "unknown_assignment"
        assert shell.core.counts.in_flight_count == 1
        bob.send({"request_id": "r1", "command": "nobody-serves-it"})
        assert (await bob.receive())["code"] == "no_available_workers", "its own r1"
        holder.send({"type": "response", "msg_id": msg_id, "data": {"success": True, "result": "real"}})
        assert (await alice.receive())["data"] == "real"


# --- rates ----------------------------------------------------------------------------------------------------------


async def test_messages_over_the_rate_are_refused_under_their_request_id() -> None:
    async with open_shell(account_messages_per_s=2) as shell:
        requester = await shell.requester()
        for number in range(6):
            requester.send({"request_id": f"r{number}", "command": "work"})
        answers = [await requester.receive() for _ in range(6)]
        assert {answer["request_id"]: answer["code"] for answer in answers} == {
            **{f"r{number}": "no_available_workers" for number in range(4)},
            **{f"r{number}": "rate_limited" for number in (4, 5)},
        }
        limited = next(answer for answer in answers if answer["code"] == "rate_limited")
        assert limited["delivery"] == "not_delivered"
        assert 0 < limited["retry_after"] <= 1
        assert (
            limited["error"]
            == "anonymous at 127.0.0.1 sends over 2 messages a second (account_messages_per_s)"
        )
        assert shell.core.counts.refused == {"rate_limited": 2}
        assert shell.read_model.access.limited[Limit.ACCOUNT_MESSAGES.value] == 2


async def test_bytes_over_the_rate_are_refused() -> None:
    async with open_shell(account_bytes_per_s=1000) as shell:
        requester = await shell.requester()
        codes = [(await call(requester, "work", data="x" * 900))["code"] for _ in range(3)]
        assert codes == ["no_available_workers", "no_available_workers", "rate_limited"]


async def test_over_the_rate_a_cancel_still_counts_and_a_ping_does_not() -> None:
    async with open_shell(account_messages_per_s=1) as shell:
        await shell.worker()
        requester = await shell.requester()
        requester.send({"request_id": "r1", "command": "work"})
        requester.send({"type": "ping", "request_id": "r1"})
        assert (await requester.receive())["type"] == "pong"
        requester.send({"type": "ping", "request_id": "r1"})
        refused = await requester.receive()
        assert (refused["request_id"], refused["code"]) == (None, "rate_limited")
        requester.link.send(b"{}")
        assert (await requester.receive())["code"] == "rate_limited"
        requester.link.send(b"no JSON")
        refused = await requester.receive()
        assert (refused["request_id"], refused["code"]) == (None, "rate_limited")
        requester.send({"type": "cancel", "request_id": "r1"})
        cancelled = await requester.receive()
        assert (cancelled["request_id"], cancelled["code"]) == ("r1", "cancelled")


async def test_responses_of_a_worker_are_never_limited_and_its_heartbeats_are() -> None:
    async with open_shell(account_messages_per_s=1) as shell:
        worker = await shell.worker(concurrency=10)
        (session,) = shell.workers.sessions
        for number in range(3):
            worker.send({"type": "heartbeat", "msg_id": f"h{number}"})
        answers = [await worker.receive() for _ in range(3)]
        assert [answer["type"] for answer in answers] == ["heartbeat", "heartbeat", "error"]
        assert (answers[2]["msg_id"], answers[2]["data"]["code"]) == ("h2", "rate_limited")
        assert 0 < answers[2]["data"]["retry_after"] <= 1
        for _ in range(5):
            worker.send({"type": "response", "msg_id": "none", "data": {"success": True}})
            assert (await worker.receive())["data"]["code"] == "unknown_assignment"
        worker.send({"type": "disconnect", "msg_id": "d"})
        assert (await worker.receive())["msg_id"] == "d"
        assert session.worker is not None


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_worker_with_too_many_new_commands_is_told_when_to_come_back(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(usage, "NEW_COMMANDS_PER_S", 2)
    monkeypatch.setattr(usage, "NEW_COMMANDS_BURST_COUNT", 2)
    async with open_shell() as shell:
        await shell.worker(encoding, commands=["a", "b", "a"], name="w1")
        late = await shell.worker_connection(encoding)
        late.send({"type": "connect", "msg_id": "m", "data": {"name": "w2", "commands": ["b", "c", "d"]}})
        error = await late.receive()
        text = "data.commands: workers of anonymous at 127.0.0.1 bring over 2 new commands a second (new_commands)"
        assert (error["type"], error["msg_id"]) == ("error", "m")
        assert error["data"] == {
            "code": "rate_limited",
            "error": text,
            "retry_after": pytest.approx(1.0, abs=0.9),
        }
        assert (await late.closed()).startswith("closed by peer: 1008")
        line = caplog.records[-1].getMessage()
        assert line.startswith("worker w2 from 127.0.0.1:")
        assert line.endswith(f" was refused: {text}")
        assert shell.read_model.access.limited[Limit.NEW_COMMANDS.value] == 1
        assert set(shell.core.roster.workers) == {"w1"}
        assert set(shell.core.roster.commands) == {"a", "b"}
        await shell.worker(encoding, commands=["a", "b"], name="w2")


async def test_workers_that_join_again_and_again_are_told_when_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage, "DECLARED_COMMANDS_PER_S", 0.1)
    monkeypatch.setattr(usage, "DECLARED_COMMANDS_BURST_COUNT", 4)
    async with open_shell() as shell:
        await shell.worker(commands=["a", "b"], name="w1")
        await shell.worker(commands=["a", "b"], name="w2")
        late = await shell.worker_connection()
        late.send({"type": "connect", "msg_id": "m", "data": {"name": "w3", "commands": ["a", "b"]}})
        error = await late.receive()
        text = "workers of anonymous at 127.0.0.1 join with over 0.1 commands a second (declared_commands)"
        assert error["data"] == {
            "code": "rate_limited",
            "error": f"data.commands: {text}",
            "retry_after": pytest.approx(20.0, abs=19.0),
        }
        assert (await late.closed()).startswith("closed by peer: 1008")
        assert shell.read_model.access.limited[Limit.DECLARED_COMMANDS.value] == 1
        assert set(shell.core.roster.workers) == {"w1", "w2"}


async def test_a_worker_whose_name_is_taken_has_brought_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "NEW_COMMANDS_PER_S", 1)
    monkeypatch.setattr(usage, "NEW_COMMANDS_BURST_COUNT", 2)
    async with open_shell() as shell:
        await shell.worker(commands=["a"], name="w1")
        for _ in range(3):
            other = await shell.worker_connection()
            other.send({"type": "connect", "data": {"name": "w1", "commands": ["b"]}})
            assert (await other.receive())["data"]["code"] == "worker_id_taken"
        await shell.worker(commands=["b"], name="w2")


# --- renewal and the end of a login ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_requester_renews_its_login_in_place(encoding: Encoding) -> None:
    async with open_shell(ACCESS) as shell:
        requester = await shell.requester(encoding, "alice")
        requester.send({"type": "auth", "token": token_of("alice"), "request_id": "a"})
        assert await requester.receive() == {
            "type": "auth",
            "success": True,
            "request_id": "a",
            "identity": "alice",
        }
        requester.send({"type": "auth", "token": token_of("bob")})
        answer = await requester.receive()
        assert (answer["success"], answer["code"]) == (False, "forbidden")
        requester.send({"type": "auth"})
        assert (await requester.receive())["error"] == "token: missing"


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_worker_renews_its_login_in_place(encoding: Encoding) -> None:
    async with open_shell(ACCESS) as shell:
        worker = await shell.worker(encoding, "crew")
        worker.send({"type": "auth", "msg_id": "a", "data": {"token": token_of("crew")}})
        answer = await worker.receive()
        assert (answer["msg_id"], answer["data"]) == ("a", {"success": True, "identity": "crew"})
        worker.send({"type": "auth", "data": {"token": token_of("alice")}})
        assert (await worker.receive())["data"]["code"] == "forbidden"


async def test_a_worker_cannot_renew_its_login_before_it_has_said_connect() -> None:
    async with open_shell(ACCESS) as shell:
        worker = await shell.worker_connection(identity="crew")
        worker.send({"type": "auth", "data": {"token": token_of("crew")}})
        assert (await worker.receive())["data"]["code"] == "bad_message"
        assert (await worker.closed()).startswith("closed by peer: 1008")


async def test_a_flood_of_bad_tokens_ends_the_connection_and_what_follows_it_is_ignored() -> None:
    async with open_shell(ACCESS) as shell:
        requester = await shell.requester(identity="alice")
        for _ in range(100):
            requester.send({"type": "auth", "token": token_of("mallory")})
        requester.send({"request_id": "r", "command": "work"})
        assert (await requester.closed()).startswith("closed by peer: 4401")
        assert len(requester.recorder.messages) == FAILED_RENEWALS_COUNT_MAX
        worker = await shell.worker(identity="crew")
        for _ in range(100):
            worker.send({"type": "auth", "data": {"token": token_of("mallory")}})
        assert (await worker.closed()).startswith("closed by peer: 4401")
        assert len(worker.recorder.messages) == 1 + FAILED_RENEWALS_COUNT_MAX
        await until(lambda: not shell.workers.sessions and not shell.requesters.sessions)
        assert not shell.core.roster.workers
        assert not shell.core.requesters


async def test_a_revoked_requesters_requests_end_as_if_it_had_disconnected() -> None:
    async with open_shell(ACCESS) as shell:
        worker, requester = await shell.worker(identity="crew"), await shell.requester(identity="alice")
        for number in range(3):
            requester.send({"request_id": f"r{number}", "command": "work"})
        msg_id = (await worker.receive())["msg_id"]
        await until(lambda: shell.core.counts.in_flight_count == 3)
        shell.take(policy(crew=RIGHTS["crew"]))
        assert shell.core.counts.in_flight_count == 0
        cancel = await worker.receive()
        assert (cancel["msg_id"], cancel["data"]["reason"]) == (msg_id, "requester_gone")
        requester.send({"request_id": "late", "command": "work"})
        assert (await requester.closed()).startswith("closed by peer: 4401")
        worker.send({"type": "response", "msg_id": msg_id, "data": {"success": True, "result": 1}})
        await until(lambda: not shell.requesters.sessions)
        assert shell.core.counts.submitted_count == 3


async def test_what_revoked_workers_had_is_lost_once_and_not_given_to_another_of_them() -> None:
    async with open_shell(policy(**RIGHTS, other='serve = ["work"]')) as shell:
        revoked = [await shell.worker(identity="crew") for _ in range(3)]
        requester = await shell.requester(identity="alice")
        for number in range(3):
            requester.send({"request_id": f"r{number}", "command": "work", "idempotent": True})
        for worker in revoked:
            await worker.receive()
        left = await shell.worker(identity="other", concurrency=3)
        shell.take(policy(alice=RIGHTS["alice"], other='serve = ["work"]'))
        for _ in range(3):
            msg_id = (await left.receive())["msg_id"]
            left.send({"type": "response", "msg_id": msg_id, "data": {"success": True, "result": 1}})
        assert all([(await requester.receive())["success"] for _ in range(3)])
        assert shell.core.counts.retried_count == 3
        for worker in revoked:
            assert (await worker.closed()).startswith("closed by peer: 4401")
            assert len(worker.recorder.messages) == 2


async def test_a_worker_that_loses_the_right_to_a_command_that_it_serves_is_closed() -> None:
    async with open_shell(policy(**RIGHTS | {"crew": 'serve = ["work", "echo"]'})) as shell:
        both = await shell.worker(identity="crew", commands=["work", "echo"])
        one = await shell.worker(identity="crew", commands=["work"])
        shell.take(ACCESS)
        assert (await both.closed()).startswith("closed by peer: 4403")
        one.send({"type": "heartbeat"})
        assert (await one.receive())["type"] == "heartbeat"


async def test_a_login_runs_out_in_the_middle_of_a_request() -> None:
    until_date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    lines = f"{RIGHTS['alice']}\n{expiring('alice', until_date.isoformat())}"
    async with open_shell(policy(**RIGHTS | {"alice": lines})) as shell:
        worker, requester = await shell.worker(identity="crew"), await shell.requester(identity="alice")
        requester.send({"request_id": "r", "command": "work"})
        await worker.receive()
        now = time.monotonic()
        shell.check(now + 99 - EXPIRY_NOTICE_S)
        shell.check(now + 100 - EXPIRY_NOTICE_S + 1)
        notice = await requester.receive()
        assert notice["type"] == "expiring"
        assert 0 < notice["expires_in"] <= EXPIRY_NOTICE_S
        requester.send({"type": "auth", "token": token_of("alice")})
        answer = await requester.receive()
        assert 90 < answer["expires_in"] <= 100
        shell.check(now + 101)
        assert (await requester.closed()).startswith("closed by peer: 4401")
        assert (await worker.receive())["data"]["reason"] == "requester_gone"


@pytest.mark.parametrize("port", ["worker", "requester"])
async def test_a_worker_too_is_told_that_its_login_runs_out(port: str) -> None:
    until_date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=10)
    lines = f"{RIGHTS['crew']}\ncall = ['*']\n{expiring('crew', until_date.isoformat())}"
    async with open_shell(policy(crew=lines)) as shell:
        peer = await (shell.worker(identity="crew") if port == "worker" else shell.requester(identity="crew"))
        shell.check()
        notice = await peer.receive()
        assert notice["type"] == "expiring"
        assert 9 < (notice["data"] if port == "worker" else notice)["expires_in"] <= 10


async def open_links(shell: Shell, count: int) -> list[Peer]:
    return [await shell.requester(identity="alice") for _ in range(count)]


async def test_a_reload_of_many_links_gives_way_to_others() -> None:
    async with open_shell(ACCESS) as shell:
        shell.requesters.connections_count_max = 200
        links = await open_links(shell, 150)
        shell.entrance.take(policy(crew=RIGHTS["crew"]))
        ended_counts = [0]
        is_more = True
        while is_more:
            is_more = shell.entrance.check(time.monotonic())
            ended_counts.append(shell.entrance.counts.ended[Ended.REVOKED])
        for link in links:
            assert (await link.closed()).startswith("closed by peer: 4401")
        slices = [after - before for before, after in itertools.pairwise(ended_counts)]
        assert max(slices) <= SLICE_COUNT_MAX < sum(slices) == 150
