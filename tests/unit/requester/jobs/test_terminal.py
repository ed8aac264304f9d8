"""What a person sees at a terminal: the bar of many submissions, and the question before many jobs are changed."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from taskferry.protocol.job_messages import Changed, Receipt, Submit
from taskferry.protocol.messages import Failure

from tests.terminals import at_terminal
from tests.unit.requester.fake_broker import FakeBrokerThread


@pytest.fixture
def broker() -> Iterator[FakeBrokerThread]:
    with FakeBrokerThread() as broker:
        yield broker


@pytest.mark.parametrize(
    ("typed", "exit_code", "printed"),
    [(b"y\n", 0, "3 jobs: accepted again"), (b"\n", 1, "nothing was changed")],
)
def test_many_jobs_are_changed_only_if_that_is_agreed(
    broker: FakeBrokerThread, typed: bytes, exit_code: int, printed: str
) -> None:
    broker.broker.answer_question = lambda question: Changed(question.request_id, 3, question.dry_run)
    code, seen = at_terminal(broker.url, "job", "retry", "--state", "dead", typed=typed)
    assert code == exit_code
    assert "Retry 3 jobs? [y/N]" in seen
    assert printed in seen
    assert [question.dry_run for question in broker.broker.questions] == [True, False][: 2 - exit_code]


def test_a_bar_shows_how_far_it_is_and_errors_are_lines_above_it(
    broker: FakeBrokerThread, tmp_path: Path
) -> None:
    all_but_one = threading.Event()

    def answer(submit: Submit) -> Any:
        number = bytes(submit.data)  # type: ignore[arg-type]
        if number == b"2":
            return Failure(submit.request_id, False, None, "no \x1b[31m", None, "bad_request")
        if number == b"3" and not all_but_one.is_set():
            all_but_one.set()
            threading.Timer(0.5, broker.drop_connections).start()  # long enough for the bar to be drawn
            return None
        return Receipt(submit.request_id, submit.job_id or "", "accepted")

    broker.broker.answer_question = answer
    lines = tmp_path / "in.jsonl"
    lines.write_text("1\n2\n\n3\n")
    code, seen = at_terminal(broker.url, "submit", "resize", f"@{lines}", "--results", str(tmp_path / "out"))
    assert code == 1
    assert re.search(r"\b2/3 +1 failed +\d+/s", seen)
    assert "line 2: no \\x1b[31m [bad_request]\r\n" in seen
    assert "3 lines: 2 accepted, 1 failed" in seen
