"""The programs of docs/streams.md run as shown, except for the port."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.processes import PATIENCE_S, Broker, programs_in, wait_until
from tests.unit.docs.pages import page
from tests.unit.layout.source_tree import ROOT

pytestmark = pytest.mark.uncovered

EXAMPLE = (ROOT / "examples" / "progress_bar.py").read_text(encoding="utf-8")
STREAMING = [text for text in page("docs/streams.md").python() if ".stream(" in text or "on_progress" in text]
PRINTED = r"\A(3\n2\n1\nNone examples.*|12% picture 1 of 8\n.*100% picture 8 of 8\n8|\[3, 2, 1\])\n\Z"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with programs_in(tmp_path_factory.mktemp("streams_page")) as programs:
        broker = programs.start_broker()
        programs.start(
            "-m", "taskferry.worker", "examples.tasks:worker", "--broker", broker.worker_url, "--name", "examples",
            environment={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        wait_until(broker.workers, "the worker")
        yield broker


@pytest.mark.parametrize("number", range(len(STREAMING)))
def test_a_program_runs_as_shown(number: int, serving: Broker) -> None:
    program = STREAMING[number].replace("ws://localhost:8766", serving.requester_url)
    assert program != STREAMING[number]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(PRINTED, done.stdout, re.DOTALL), done.stdout


def test_the_bar_takes_twenty_lines() -> None:
    _, _, body = EXAMPLE.partition('"""\n\n')
    assert len([line for line in body.splitlines() if line.strip()]) <= 20
