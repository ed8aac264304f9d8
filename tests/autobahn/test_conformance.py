"""Autobahn's fuzzing client against our links, on both kinds of message, and against both ports of a real broker.

Its cases expect an echo: `echo_server.py` is one, on the listener and the links of all our programs. The broker's own
ports answer in their own way, so the cases that want their text back are judged by how the connection ends alone.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.autobahn.suite import Unavailable, results, suite
from tests.processes import Programs, programs_in

FOLDER = Path(__file__).parent
PINNED = tomllib.loads((FOLDER / "pinned.toml").read_text())
MSGPACK = "taskferry.v1.msgpack"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with programs_in(tmp_path) as programs:
        yield programs


@pytest.fixture(scope="module", autouse=True)
def autobahn() -> None:
    """Skips all of it where the suite cannot be had."""
    try:
        suite()
    except Unavailable as reason:
        pytest.skip(str(reason))


def unexpected(found: Mapping[str, Mapping[str, Any]], *, echoes_text: bool) -> dict[str, str]:
    """The cases that did not end as pinned.toml says, and how they ended."""
    pinned = {**PINNED["documented"], **PINNED["informational"]}
    without_echo = set() if echoes_text else set(PINNED["echoed_text"]["cases"])
    wrong = {}
    for case, result in found.items():
        expected = pinned.get(case, "OK")
        got, got_close = result["behavior"], result["behaviorClose"]
        if case in without_echo:
            # 7.1.1 has the suite close once it has its text back, so on a port it gives up: 1001.
            is_right = got_close == "OK" or (case == "7.1.1" and result["remoteCloseCode"] == 1001)
        else:
            is_right = got == expected and (got_close in ("OK", "INFORMATIONAL") or expected == "FAILED")
        if not is_right:
            wrong[case] = f"{got}, close {got_close}, code {result['remoteCloseCode']}"
    return wrong


@pytest.mark.parametrize(("kind", "subprotocol"), [("text", None), ("binary", MSGPACK)])
def test_a_link_is_a_websocket(
    tmp_path: Path, programs: Programs, kind: str, subprotocol: str | None
) -> None:
    server = programs.start(str(FOLDER / "echo_server.py"))
    port = server.wait_for_stdout(r"port (\d+)")[1]
    cases = PINNED["cases"][kind]
    found = results(tmp_path, f"ws://127.0.0.1:{port}", cases, subprotocol=subprotocol)
    assert len(found) > 100, sorted(found)
    assert unexpected(found, echoes_text=kind == "text") == {}
    assert server.exit_code is None
    assert server.stderr == ""


@pytest.mark.parametrize("subprotocol", [None, MSGPACK])
@pytest.mark.parametrize("name", ["worker", "requester"])
def test_a_port_of_the_broker_is_a_websocket(
    tmp_path: Path, programs: Programs, name: str, subprotocol: str | None
) -> None:
    broker = programs.start_broker()
    url = broker.worker_url if name == "worker" else broker.requester_url
    cases = PINNED["cases"]["port"] + ([] if subprotocol else PINNED["cases"]["port_text"])
    found = results(tmp_path, url, cases, subprotocol=subprotocol)
    assert len(found) > 80, sorted(found)
    assert unexpected(found, echoes_text=False) == {}
    assert broker.exit_code is None
    assert "Traceback" not in broker.stderr, broker.stderr[-4000:]
    assert " ERROR " not in broker.stderr, broker.stderr[-4000:]


def test_every_pinned_case_is_one_that_runs(tmp_path: Path, programs: Programs) -> None:
    """A case that the suite no longer has, or that passes by now, must not stay pinned."""
    server = programs.start(str(FOLDER / "echo_server.py"))
    port = server.wait_for_stdout(r"port (\d+)")[1]
    pinned = {**PINNED["documented"], **PINNED["informational"]}
    found = results(tmp_path, f"ws://127.0.0.1:{port}", sorted(pinned))
    assert {case: result["behavior"] for case, result in found.items()} == pinned


def test_the_hot_path_is_what_this_python_has() -> None:
    """Says which of the two was tested: compiled on the wheel, plain in the editable installation."""
    from taskferry.transport import link

    is_wheel = ".cache/wheel" in sys.prefix
    assert (not str(link.__file__).endswith(".py")) == is_wheel
