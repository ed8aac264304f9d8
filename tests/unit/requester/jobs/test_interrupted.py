"""`taskferry submit` of lines as a process: Ctrl-C, and a disk that is full."""

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from taskferry.protocol.job_messages import Await, Receipt

from tests.processes import Program, wait_until
from tests.unit.requester.fake_broker import FakeBrokerThread


@pytest.fixture
def broker() -> Iterator[FakeBrokerThread]:
    with FakeBrokerThread() as broker:
        yield broker


def receipt_but_for_line_3(question: Any) -> Receipt | None:
    if isinstance(question, Await) or bytes(question.data) == b"3":
        return None
    return Receipt(question.request_id, question.job_id, "accepted")


@pytest.mark.parametrize("words", [[], ["--wait"]])
def test_ctrl_c_leaves_right_results_and_says_how_many_were_accepted(
    broker: FakeBrokerThread, tmp_path: Path, words: list[str]
) -> None:
    broker.broker.answer_question = receipt_but_for_line_3
    (tmp_path / "in.jsonl").write_text("1\n2\n3\n")
    results = tmp_path / "out.jsonl"
    asked_count = 5 if words else 3
    arguments = ["submit", "resize", f"@{tmp_path / 'in.jsonl'}", "--job-id", "x", *words]
    arguments += ["--results", str(results), "--broker", broker.url]
    with Program(tmp_path, "-m", "taskferry.cli", *arguments) as program:
        wait_until(lambda: len(broker.broker.questions) == asked_count, "all lines are submitted")
        if not words:
            wait_until(lambda: results.read_text().count("\n") == 2, "two receipts are written")
        program.interrupt()
        assert program.wait() == 130
        assert "interrupted after 3 lines: 2 accepted" in program.stderr
        assert "1 unknown; the results have their job_ids" in program.stderr
        assert "Traceback" not in program.stderr
    lines = sorted(
        (json.loads(line) for line in results.read_text().splitlines()), key=lambda line: line["line"]
    )
    assert [(line["line"], line["job_id"], line["state"]) for line in lines] == [
        (1, "x-1", "accepted"),
        (2, "x-2", "accepted"),
        (3, "x-3", "unknown"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of files")
def test_results_that_cannot_be_written_end_the_run(broker: FakeBrokerThread, tmp_path: Path) -> None:
    broker.broker.answer_question = receipt_but_for_line_3
    (tmp_path / "in.jsonl").write_text("1\n" * 100)
    results = tmp_path / "out.jsonl"
    program = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, {resource.RLIM_INFINITY}))
from taskferry.cli.main import main
try:
    main(["submit", "resize", "@{tmp_path / "in.jsonl"}", "--results", "{results}", "--broker", "{broker.url}"])
finally:  # a run under coverage writes its data at the end
    resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY}, {resource.RLIM_INFINITY}))
"""
    with Program(tmp_path, "-c", program) as process:
        assert process.wait() == 1
        assert "error: cannot write the results: file too large; " in process.stderr
        assert "Traceback" not in process.stderr
    for line in results.read_text().splitlines()[:-1]:
        json.loads(line)
