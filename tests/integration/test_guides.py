"""The programs in README.md and in the guides to both SDKs run as shown, except for the ports."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, Broker, programs_in, wait_until
from tests.unit.docs.pages import page

pytestmark = pytest.mark.uncovered

README, WORKERS, REQUESTERS = page("README.md"), page("docs/workers.md"), page("docs/requesters.md")
REQUESTING = [
    pytest.param(text, id=f"{found.name} {number}")
    for found in (README, REQUESTERS)
    for number, text in enumerate(found.python())
    if "taskferry.requester" in text
]

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs Python with arguments in a folder of the test; returns its output."""

    def run(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with a worker that serves the built-in commands, and one that serves README's, for all programs here:
    they only send requests."""
    folder = tmp_path_factory.mktemp("guides")
    (folder / "tasks.py").write_text(README.files()["tasks.py"], encoding="utf-8")
    with programs_in(folder) as programs:
        broker = programs.start_broker()
        arguments = ("-m", "taskferry.worker", "--broker", broker.worker_url)
        programs.start(*arguments, "--name", "built-in")
        programs.start(
            *arguments, "--name", "readme", "tasks:worker", environment={"PYTHONPATH": str(folder)}
        )
        wait_until(lambda: len(broker.workers()) == 2, "both workers connect")
        yield broker


@pytest.mark.parametrize("text", REQUESTING)
def test_a_program_that_sends_requests(text: str, serving: Broker, run: Run, tmp_path: Path) -> None:
    (tmp_path / "alice.token").write_text(f"tfk_{'x' * 43}\n", encoding="utf-8")  # the broker asks for none
    program = text.replace("ws://localhost:8766", serving.requester_url)
    assert program != text
    printed = run("-c", program)
    assert any(words in printed for words in ("Hello, Ada!", "Echo: Hello", "No available workers")), printed


def test_the_guides_tests_of_handlers(run: Run, tmp_path: Path) -> None:
    files = WORKERS.files()
    assert len(files) >= 4
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path))
    assert re.search(r"\b2 passed", printed), printed
