"""What a person sees who waits for a job at a terminal, and what a script does."""

import re
from collections.abc import Iterator

import pytest

from tests.processes import Broker, Programs, programs_in, wait_until
from tests.terminals import at_terminal

WORKER = """
import asyncio
from taskferry.worker import Context, Dead, Worker

worker = Worker()

@worker.command("slow", backoff=0)
async def slow(context: Context) -> str:
    if context.attempt == 1:
        raise ValueError("not \\x1b[31m yet")
    context.progress(0.25, "page 1 of 4")
    await asyncio.sleep(2)
    return "there"

@worker.command("closed")
async def closed() -> None:
    raise Dead("the account is closed")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with programs_in(tmp_path_factory.mktemp("watched")) as programs:
        broker = programs.start_broker("--grace", "0")
        (programs.folder / "watched_tasks.py").write_text(WORKER)
        programs.start(
            "-m", "taskferry.worker", "watched_tasks:worker", "--broker", broker.worker_url,
            "--name", "w1", environment={"PYTHONPATH": str(programs.folder)},
        )  # fmt: skip
        wait_until(broker.workers, "the worker")
        yield broker


def steps_of(seen: str) -> list[str]:
    """The lines that stay, without the bar that is drawn below them and removed."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    return [line for text in re.split(r"[\r\n]+", plain) if (line := text.strip()) and "\u2501" not in line]


def test_each_step_is_a_line_and_a_bar_says_how_far_it_is(served: Broker) -> None:
    code, seen = at_terminal(served.requester_url, "submit", "slow", "--wait", "--job-id", "watched")
    steps = steps_of(seen)
    assert code == 0, seen
    assert steps[:4] == [
        "job watched is accepted",
        "attempt 1 runs on w1",
        "attempt 1 failed: ValueError: not \\x1b[31m yet [handler_error]",
        "attempt 2 runs on w1",
    ]
    assert re.fullmatch(r"done after [234]\.\d s", steps[4])
    assert steps[5:] == ['"there"']
    assert re.search(r"\u2501 +25% page 1 of 4", seen)
    again = at_terminal(served.requester_url, "job", "result", "watched")
    assert (again[0], steps_of(again[1])) == (0, ['"there"'])


def test_why_it_is_dead_is_said(served: Broker) -> None:
    code, seen = at_terminal(served.requester_url, "submit", "closed", "--wait")
    assert code == 1
    assert steps_of(seen)[2] == "attempt 1 failed: the account is closed [handler_error]"
    assert steps_of(seen)[3].startswith("dead after ")
    assert steps_of(seen)[4:] == ["error: the account is closed [handler_error, w1]"]


def test_a_script_gets_the_result_alone(served: Broker, programs: Programs) -> None:
    program = programs.start(
        "-m", "taskferry.cli", "submit", "slow", "--wait", "--broker", served.requester_url
    )
    assert program.wait() == 0
    assert (program.stdout, program.stderr) == ('"there"\n', "")
