"""A real broker with an access file: who is let in, what they may do, and what a reload takes from them."""

import asyncio
import hashlib
import json
import signal
from pathlib import Path
from typing import Any, Final

import pytest
import websockets

from tests.integration.peers import Peer, connected
from tests.processes import Broker, Programs

TOKENS: Final = {name: f"tfk_{name:x<43}" for name in ("alice", "bob", "resizer")}
RIGHTS: Final = {
    "alice": 'call = ["resize-*"]',
    "bob": 'roles = ["observer"]',
    "resizer": 'serve = ["resize-small", "resize-large"]',
}


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def write(path: Path, **rights: str) -> None:
    """An access file with these identities, each with its token."""
    lines = []
    for name, granted in rights.items():
        digest = hashlib.sha256(TOKENS[name].encode()).hexdigest()
        lines += [f"[identities.{name}]", granted, f'tokens = [{{ sha256 = "{digest}" }}]']
    path.write_text("\n".join(lines))


@pytest.fixture
def access(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    write(path, **RIGHTS)
    return path


@pytest.fixture
def broker(programs: Programs, access: Path) -> Broker:
    return programs.start_broker("--access", str(access))


async def refused(url: str, **options: Any) -> tuple[int, str]:
    """Status and text of the refusal of a handshake."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, **options)
    return caught.value.response.status_code, bytes(caught.value.response.body or b"").decode().strip()


async def test_a_token_is_needed_and_decides_what_is_done(broker: Broker) -> None:
    status, text = await refused(broker.requester_url)
    assert (status, text) == (401, "a token is needed: Authorization: Bearer TOKEN")
    wrong = {"Authorization": "Bearer tfk_marked-secret"}
    assert await refused(broker.requester_url, additional_headers=wrong) == (
        401,
        "the token is not known here",
    )
    status, text = await refused(broker.worker_url, additional_headers=bearer("alice"))
    assert (status, text) == (403, "alice has no rights on the worker port")
    async with (
        connected(broker.worker_url, additional_headers=bearer("resizer")) as worker,
        connected(broker.requester_url, additional_headers=bearer("alice")) as alice,
    ):
        welcome = await worker.join("w1", "resize-small", "drop-tables")
        assert welcome["type"] == "connect"
        error = await worker.receive()
        assert (error["type"], error["msg_id"], error["data"]["code"]) == ("error", "hello", "forbidden")
        assert "may not serve drop-tables" in error["data"]["error"]
        failure = await alice.call("drop-tables")
        assert (failure["code"], failure["delivery"]) == ("forbidden", "not_delivered")
        assert failure["error"] == "alice may not call 'drop-tables': no rule grants it"
        await alice.send({"request_id": "r1", "command": "resize-small"})
        await worker.respond(await worker.receive_assignment(), 42)
        assert (await alice.receive())["data"] == 42
    assert "marked-secret" not in broker.stderr
    for token in TOKENS.values():
        assert token not in broker.stderr


async def test_a_browser_offers_its_token_among_the_sub_protocols(broker: Broker) -> None:
    offered = ["taskferry.v1.json", f"taskferry.token.{TOKENS['alice']}"]
    async with websockets.connect(broker.requester_url, subprotocols=offered) as connection:  # type: ignore[arg-type]
        assert connection.subprotocol == "taskferry.v1.json"
        await connection.send('{"type": "ping", "request_id": "p"}')
        assert json.loads(await connection.recv()) == {"type": "pong", "request_id": "p"}


async def test_a_reload_closes_what_it_takes_the_login_or_a_used_right_from(
    broker: Broker, access: Path
) -> None:
    async with (
        connected(broker.worker_url, additional_headers=bearer("resizer")) as worker,
        connected(broker.requester_url, additional_headers=bearer("alice")) as user,
        connected(broker.requester_url, additional_headers=bearer("alice")) as idle,
    ):
        await worker.join("w1", "resize-small")
        await user.send({"request_id": "r1", "command": "resize-small"})
        await worker.receive_assignment()
        write(access, **RIGHTS | {"alice": 'call = ["resize-large"]'})
        assert await closed_after_reload(broker, user) == 4403
        assert (await worker.receive())["data"]["reason"] == "requester_gone"
        assert (await idle.call("resize-small"))["code"] == "forbidden"
        write(access, bob=RIGHTS["bob"], alice=RIGHTS["alice"])
        assert await closed_after_reload(broker, worker) == 4401
        assert (await idle.call("resize-small"))["code"] == "no_available_workers"
    status, _ = await refused(broker.worker_url, additional_headers=bearer("resizer"))
    assert status == 401, "a revoked token is not accepted again"


async def closed_after_reload(broker: Broker, peer: Peer) -> int | None:
    broker.send_signal(signal.SIGHUP)
    async with asyncio.timeout(1):
        code, _ = await peer.wait_closed()
    return code


async def test_a_file_with_an_error_changes_nothing(broker: Broker, access: Path) -> None:
    async with connected(broker.requester_url, additional_headers=bearer("alice")) as alice:
        access.write_text("[identities.alice]\nroles = [")
        broker.send_signal(signal.SIGHUP)
        await asyncio.to_thread(broker.wait_for_stderr, "access file not reloaded")
        assert (await alice.call("resize-small"))["code"] == "no_available_workers"


async def test_access_is_turned_on_and_off_by_the_configuration(
    programs: Programs, tmp_path: Path, access: Path
) -> None:
    configuration = tmp_path / "taskferry.toml"
    configuration.write_text("")
    broker = programs.start_broker("--config", str(configuration))

    async def reload(text: str, line: str) -> None:
        configuration.write_text(f"[broker]\n{text}\n")
        broker.send_signal(signal.SIGHUP)
        await asyncio.to_thread(broker.wait_for_stderr, line)

    await reload('access = "none.toml"', "; access is still off: whoever can connect may do everything")
    async with connected(broker.requester_url) as stranger:
        await reload(f'access = "{access}"', "access reloaded; identities: 3")
        assert (await stranger.wait_closed())[0] == 4401
    assert (await refused(broker.requester_url))[0] == 401
    await reload("", "access is off now: whoever can connect may do everything")
    async with connected(broker.requester_url) as stranger:
        assert (await stranger.call("resize-small"))["code"] == "no_available_workers"
