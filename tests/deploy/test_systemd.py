"""systemd accepts the units and rates them well sandboxed; broker and worker run under the system call filters of their
units."""

import ctypes
import re
import shutil
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from taskferry.requester import BlockingRequester

from tests.deploy.filtered import LIBRARY
from tests.deploy.tools import needed, run
from tests.processes import PATIENCE_S, Programs
from tests.unit.deploy.test_systemd import DROP_INS, PROGRAM, UNITS, directives

EXPOSURE_MAX = 1.5
"""systemd's own exposure level, from 0 (sandboxed) to 10 (everything open); up to 2 it is satisfied. What remains for
the broker is the network and the root of the file system."""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Path]:
    """The units with the path of an installed program: systemd checks that it exists."""
    program = needed("taskferry")
    units = {role: tmp_path / unit.name for role, unit in UNITS.items()}
    for role, path in units.items():
        path.write_text(UNITS[role].read_text(encoding="utf-8").replace(PROGRAM, program), encoding="utf-8")
        path.with_name(f"{path.name}.d").mkdir()
        shutil.copy(DROP_INS[role], path.with_name(f"{path.name}.d"))
    return units


def test_systemd_accepts_them(installed: dict[str, Path]) -> None:
    assert run("systemd-analyze", "verify", "--man=no", *installed.values()).strip() == ""


@pytest.mark.parametrize("role", UNITS)
def test_systemd_finds_a_misspelt_directive_in_a_unit_and_in_a_drop_in(
    installed: dict[str, Path], role: str
) -> None:
    unit = installed[role]
    drop_in = unit.with_name(f"{unit.name}.d") / DROP_INS[role].name
    for path, right, wrong in (
        (unit, "ProtectHome", "ProtectHouse"),
        (drop_in, "Environment", "Surroundings"),
    ):
        path.write_text(path.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
        assert wrong in run("systemd-analyze", "verify", "--man=no", unit)


@pytest.mark.parametrize("role", UNITS)
def test_systemd_rates_them_well_sandboxed(installed: dict[str, Path], role: str) -> None:
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", installed[role])
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE_MAX, said


# --- the system call filter ---


def system_calls(group: str) -> set[str]:
    """The system calls in systemd's `@group`, including nested groups."""
    words = [
        line.split()[0]
        for line in run("systemd-analyze", "syscall-filter", group).splitlines()[1:]
        if line.strip()
    ]
    calls = {word for word in words if word[0] not in "@#"}
    return calls.union(*(system_calls(word) for word in words if word[0] == "@"))


def allowed_calls(role: str) -> set[str]:
    """What the unit's SystemCallFilter= lines allow, interpreted as in systemd.exec(5)."""
    unit = directives(UNITS[role])
    assert unit["SystemCallErrorNumber"] == ["EPERM"]  # otherwise a refused call kills the program
    calls: set[str] = set()
    for line in unit["SystemCallFilter"]:
        named = set().union(*(system_calls(group) for group in line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


@pytest.fixture
def filter_of(tmp_path: Path) -> Callable[[set[str]], tuple[str, str]]:
    """The arguments that run a program under a filter."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        pytest.skip(f"{LIBRARY} is not installed; on Debian and Ubuntu: apt install libseccomp2")

    def arguments(calls: set[str]) -> tuple[str, str]:
        file = tmp_path / "allowed"
        file.write_text("\n".join(sorted(calls)))
        return str(Path(__file__).with_name("filtered.py")), str(file)

    return arguments


def test_a_broker_serves_and_drains_under_its_filter(
    programs: Programs, filter_of: Callable[[set[str]], tuple[str, str]]
) -> None:
    ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
    filtered = (*filter_of(allowed_calls("broker")), sys.executable)
    # StateDirectory= sets this variable; the journal is there.
    state = {"STATE_DIRECTORY": str(programs.folder)}
    broker = programs.start(*filtered, "-m", "taskferry.broker", *ports, environment=state)
    ready = broker.wait_for_stdout(r"workers (\S+)  requesters (\S+)  http (\S+)")
    assert "Seccomp:\t2" in Path(f"/proc/{broker.pid}/status").read_text()  # the filter is active
    worker = programs.start("-m", "taskferry.worker", "--broker", ready[1])
    worker.wait_for_stderr("connected")
    with BlockingRequester(ready[2]) as requester:
        assert requester.call("echo", {"message": "x"}) == "Echo: x"
        assert requester.submit("echo", {"message": "job"}).result(timeout=PATIENCE_S) == "Echo: job"
    assert (programs.folder / "journal.db").stat().st_size > 0
    with urllib.request.urlopen(f"{ready[3]}/metrics", timeout=PATIENCE_S) as answer:
        assert b"taskferry_requests_total" in answer.read()
    broker.terminate()
    assert broker.wait() == 0
    assert "Traceback" not in broker.stderr


def test_a_worker_runs_every_kind_of_handler_under_its_filter(
    programs: Programs, filter_of: Callable[[set[str]], tuple[str, str]]
) -> None:
    broker = programs.start_broker()
    filtered = (*filter_of(allowed_calls("worker")), sys.executable)
    module = "examples.tasks:worker"
    worker = programs.start(*filtered, "-m", "taskferry.worker", "--broker", broker.worker_url, module)
    worker.wait_for_stderr("connected")
    with BlockingRequester(broker.requester_url) as requester:
        assert requester.call("greet", {"name": "Ada"}) == "Hello, Ada!"
        assert requester.call("count_words", {"text": "a b a"}) == {"a": 2, "b": 1}  # in a thread
        assert requester.call("count_primes", {"limit": 100}) == 25  # in a process
    worker.terminate()
    assert worker.wait() == 0
    assert "Traceback" not in worker.stderr


def test_a_broker_would_not_serve_under_a_filter_that_lacks_something(
    programs: Programs, filter_of: Callable[[set[str]], tuple[str, str]]
) -> None:
    filtered = (*filter_of(allowed_calls("broker") - {"bind"}), sys.executable)
    options = ("--worker-port", "0", "--journal", "none")
    broker = programs.start(*filtered, "-m", "taskferry.broker", *options)
    assert broker.wait() == 2
    assert "not permitted" in broker.stderr
