"""SIGHUP to a real broker: live settings change under load, others need a restart, and a file with an error changes
nothing."""

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers import connected, serving
from tests.processes import Broker, Programs

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "taskferry.toml"


def start(programs: Programs, path: Path, content: str, *options: str) -> Broker:
    path.write_text(content)
    return programs.start_broker("--config", str(path), *options)


def reload(broker: Broker, path: Path, content: str | None) -> list[str]:
    """Change the file (None: remove it) and send SIGHUP; returns the lines logged, without the time."""
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    broker.wait_for_stderr("started on .*\n")
    seen = len(broker.stderr)
    broker.send_signal(signal.SIGHUP)
    broker.wait_for_stderr(re.compile(rf"(?s)\A.{{{seen}}}.*configuration (not )?reloaded.*\n"))
    return [line[9:] for line in broker.stderr[seen:].splitlines()]


async def test_the_strategy_is_swapped_under_load_and_each_request_is_answered_once(
    programs: Programs, path: Path
) -> None:
    strategies = ("round_robin", "random", "consistent_hash", "power_of_two", "least_loaded")
    broker = start(programs, path, '[broker]\nstrategy = "least_loaded"\n')

    def answer(params: Any) -> Any:
        return params["n"]

    answers: dict[str, list[int]] = {}
    sent_count = 0

    async def load(name: str, stopped: asyncio.Event) -> None:
        nonlocal sent_count
        async with connected(broker.requester_url) as requester:
            while not stopped.is_set():
                numbers = range(sent_count, sent_count + 20)
                sent_count += 20
                for number in numbers:
                    await requester.send(
                        {"request_id": str(number), "command": f"c.{number % 3}", "data": {"n": number}}
                    )
                for _ in numbers:
                    response = await requester.receive()
                    assert response["success"], response
                    answers.setdefault(response["request_id"], []).append(response["data"])

    commands = {f"c.{number}": answer for number in range(3)}
    async with (
        serving(broker.worker_url, commands, name="a", concurrency=2),
        serving(broker.worker_url, commands, name="b", concurrency=3),
    ):
        stopped = asyncio.Event()
        loads = [asyncio.create_task(load(str(number), stopped)) for number in range(3)]
        for strategy in strategies * 2:
            content = f'[broker]\nstrategy = "{strategy}"\n[broker.strategies]\n"c.2" = "round_robin"\n'
            await asyncio.to_thread(reload, broker, path, content)
            status = await asyncio.to_thread(broker.status)
            assert status["strategy"] == strategy
            used = {row["command"]: row["strategy"] for row in status["commands"]}
            assert used == {"c.0": strategy, "c.1": strategy, "c.2": "round_robin"}
            before = len(answers)
            while len(answers) < before + 100:
                await asyncio.sleep(0.005)
        stopped.set()
        await asyncio.gather(*loads)
    assert answers == {str(number): [number] for number in range(sent_count)}
    status = broker.status()
    assert (status["submitted_count"], status["in_flight_count"]) == (sent_count, 0)
    assert status["outcomes"] == {"success": sent_count}


async def test_new_bounds_apply_at_once(programs: Programs, path: Path) -> None:
    broker = start(programs, path, "")
    content = "[broker]\nqueue_count_max = 0\nin_flight_count_max = 5\ntimeout = 0.05\n"
    assert await asyncio.to_thread(reload, broker, path, content) == [
        "INFO    configuration reloaded: timeout: 30 seconds -> 0.05 seconds, "
        "queue_count_max: 100000 -> 0, in_flight_count_max: 10000 -> 5"
    ]
    async with connected(broker.worker_url) as silent, connected(broker.requester_url) as requester:
        await silent.join("silent", "slow", concurrency=1)
        for number in range(2):
            await requester.send({"request_id": str(number), "command": "slow"})
        codes = [(await requester.receive())["code"] for _ in range(2)]
        assert codes == ["overloaded", "timeout"]


async def fate_of_a_lost_request(broker: Broker) -> str:
    """How an idempotent request ends if its worker disconnects while another worker serves the command."""
    async with connected(broker.requester_url) as requester, connected(broker.worker_url) as lost:
        await lost.join("lost", "c", concurrency=1)
        await requester.send({"request_id": "r", "command": "c", "idempotent": True})
        await lost.receive_assignment()
        async with serving(broker.worker_url, {"c": lambda _: "done"}, name="other"):
            await lost.connection.close()
            response = await requester.receive()
    return "success" if response["success"] else str(response["code"])


@pytest.mark.parametrize(
    ("setting", "change"),
    [("retries_count_max", "2 -> 0"), ("retries_share_max", "0.2 -> 0")],
)
async def test_retries_are_turned_off_and_on_again(
    programs: Programs, path: Path, setting: str, change: str
) -> None:
    broker = start(programs, path, "")
    assert await fate_of_a_lost_request(broker) == "success"
    content = f"[broker]\n{setting} = 0\n"
    lines = await asyncio.to_thread(reload, broker, path, content)  # that a worker has left may be among them
    assert f"INFO    configuration reloaded: {setting}: {change}" in lines
    assert await fate_of_a_lost_request(broker) == "worker_lost"
    await asyncio.to_thread(reload, broker, path, "")
    assert await fate_of_a_lost_request(broker) == "success"


async def test_hedging_is_turned_off_and_on_again(programs: Programs, path: Path) -> None:
    broker = start(programs, path, "[broker]\nhedges_share_max = 0\n")

    async def slow(_: Any) -> None:
        await asyncio.sleep(0.2)

    async with (
        serving(broker.worker_url, {"c": slow}, name="a"),
        serving(broker.worker_url, {"c": slow}, name="b"),
        connected(broker.requester_url) as requester,
    ):
        hedged_counts = []
        for share in ("0", "1", "0"):
            content = f"[broker]\nhedges_share_max = {share}\n"
            await asyncio.to_thread(reload, broker, path, content)
            before = (await asyncio.to_thread(broker.status))["counts"]["hedged"]
            assert (await requester.call("c", idempotent=True, hedge=0.02))["success"]
            hedged_counts.append((await asyncio.to_thread(broker.status))["counts"]["hedged"] - before)
    assert hedged_counts == [0, 1, 0]


async def test_the_bound_on_connections_applies_at_once(programs: Programs, path: Path) -> None:
    broker = start(programs, path, "")
    await asyncio.to_thread(reload, broker, path, "[broker]\nconnections_count_max = 1\n")
    async with connected(broker.requester_url):
        with pytest.raises(Exception, match=r"HTTP 503"):
            async with connected(broker.requester_url):
                pass
    broker.wait_for_stderr("requester port: connection from 127.0.0.1 refused: over 1 connections")


def test_settings_that_cannot_change_are_named_and_stay(programs: Programs, path: Path) -> None:
    broker = start(programs, path, "", "--grace", "3")
    content = '[broker]\nhttp_port = 1\nhost = "::1"\ngrace = 5\nstrategy = "random"\n'
    content += '[broker.strategies]\n"a*" = "random"\n'
    assert reload(broker, path, content) == [
        "INFO    configuration reloaded: strategy: least_loaded -> random, strategies: none -> a*=random",
        "WARNING configuration: needs a restart: host: 127.0.0.1 -> ::1",
    ], "a flag comes before the file, at a reload too"
    assert broker.get("/healthz") == (200, "ok\n")
    assert reload(broker, path, content)[0] == "INFO    configuration reloaded: nothing has changed"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            "[broker]\ntimeout = 0\nqueue_count_max = 1\n",
            "[broker] timeout: expected a number of seconds over 0",
        ),
        ('[broker]\nstrategy = "best"\n', "[broker] strategy: 'best' is unknown; one of "),
        ("[broker\n", "not valid TOML: "),
        (None, "No such file or directory"),
    ],
)
def test_an_invalid_file_is_one_line_and_changes_nothing(
    programs: Programs, path: Path, content: str | None, text: str
) -> None:
    broker = start(programs, path, '[broker]\nstrategy = "random"\n')
    (line,) = reload(broker, path, content)
    assert line.startswith(f"ERROR   configuration not reloaded, nothing has changed: {path}: {text}")
    assert broker.status()["strategy"] == "random"
    assert reload(broker, path, '[broker]\nstrategy = "round_robin"\n') == [
        "INFO    configuration reloaded: strategy: random -> round_robin"
    ]


def test_without_a_file_there_is_nothing_to_reload(programs: Programs, path: Path) -> None:
    broker = programs.start_broker()
    (line,) = reload(broker, path, "")
    assert line.endswith("nothing has changed: there is no file: started without --config")
    assert broker.get("/readyz") == (200, "ready\n")


def test_levels_and_the_format_change(programs: Programs, path: Path) -> None:
    broker = start(programs, path, '[log.levels]\n"taskferry" = "error"\n')
    assert "started" not in broker.stderr
    path.write_text('[log]\nlevel = "debug"\nformat = "json"\n')
    broker.send_signal(signal.SIGHUP)
    line = json.loads(broker.wait_for_stderr(r"\{.*configuration_reloaded.*\}\n")[0])
    assert line["changed"] == [
        "log.level: info -> debug",
        "log.format: human -> json",
        "log.levels: taskferry=error -> none",
    ]


def test_a_new_grace_applies_at_the_stop(programs: Programs, path: Path) -> None:
    broker = start(programs, path, "")
    reload(broker, path, "[broker]\ngrace = 1.5\n")
    broker.terminate()
    assert broker.wait() == 0
    assert "draining: 0 requests in flight, at most 1.5 s" in broker.stderr
