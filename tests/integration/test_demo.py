"""`taskferry demo` as a newcomer sees it: on a terminal, in a pipe, ended early, with workers that die.

The demo runs as a real process with real workers; only one test runs it in this process, to change the time of the
kill.
"""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from taskferry.cli.demo import run as demo_run
from taskferry.cli.demo.run import DemoRun

from tests.processes import PATIENCE_S, Program, Programs, wait_until

DEMO = ("-m", "taskferry.cli", "demo")
STREAMING = re.compile(r"look in +(http://\S+)/metrics")
"""A line in a pipe once requests are sent."""


def workers_of(demo: Program) -> list[psutil.Process]:
    return [child for child in psutil.Process(demo.pid).children() if "taskferry.worker" in child.cmdline()]


# --- in a pipe ---


def test_it_ends_by_itself_with_a_summary_and_a_picture(programs: Programs, tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    demo = programs.start(*DEMO, "--seconds", "1", "--export", str(picture))
    assert demo.wait() == 0, demo.stderr
    assert demo.stderr == ""
    out = demo.stdout
    assert "\x1b" not in out
    assert re.search(r"worker-\d was killed \(kill -9\); (its \d+ requests? went to|it had no)", out), out
    done = re.findall(r"^worker-\d +\w+ +([\d,]+) ", out, re.MULTILINE)
    total = re.search(
        r"^([\d,]+) requests in 1\.\d s: each answered once, .* none lost\.$", out, re.MULTILINE
    )
    assert total, out
    assert sum(int(count.replace(",", "")) for count in done) == int(total[1].replace(",", "")) > 0
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert "none&#160;lost." in picture.read_text(encoding="utf-8")


def test_its_http_port_can_be_read_and_ctrl_c_ends_it(programs: Programs) -> None:
    demo = programs.start(*DEMO, "--seconds", "600", "--workers", "2")
    url = demo.wait_for_stdout(STREAMING)[1]
    with urllib.request.urlopen(f"{url}/api/workers", timeout=PATIENCE_S) as response:
        rows = json.load(response)["workers"]
    assert {row["worker_id"] for row in rows} == {"worker-1", "worker-2"}
    workers = workers_of(demo)
    assert len(workers) == 2
    began_at = time.monotonic()
    demo.interrupt()
    assert demo.wait() == 0
    assert time.monotonic() - began_at < 5
    assert re.search(r"^Stopped early: [\d,]+ requests in .* none lost\.$", demo.stdout, re.MULTILINE)
    assert demo.stderr == ""
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_reports_that_it_was_stopped_while_workers_started(
    programs: Programs, tmp_path: Path, number: signal.Signals
) -> None:
    picture = tmp_path / "demo.svg"
    demo = programs.start(*DEMO, "--seconds", "600", "--workers", "3", "--export", str(picture))
    wait_until(lambda: workers_of(demo), "the first worker starts")
    demo.send_signal(number)
    assert demo.wait() == 0
    assert demo.stderr == ""
    assert "Stopped " in demo.stdout
    assert f"{picture} was not written" in demo.stdout
    assert not picture.exists()


def test_a_second_ctrl_c_ends_it_too(programs: Programs) -> None:
    demo = programs.start(*DEMO, "--seconds", "600", "--workers", "1")
    demo.wait_for_stdout(STREAMING)
    [worker] = workers_of(demo)
    worker.suspend()  # it will not stop on SIGTERM
    demo.interrupt()
    demo.wait_for_stdout("Stopped early")
    demo.interrupt()
    assert demo.wait(2.0) == 0
    assert demo.stderr == ""
    assert not worker.is_running()


def test_a_killed_demo_leaves_no_worker_behind(programs: Programs) -> None:
    demo = programs.start(*DEMO, "--seconds", "600")
    demo.wait_for_stdout(STREAMING)
    workers = workers_of(demo)
    assert len(workers) == 3
    demo.kill()
    demo.wait()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert alive == []


def test_requests_that_fail_are_shown_and_counted(programs: Programs) -> None:
    demo = programs.start(*DEMO, "--seconds", "1", "--workers", "1")
    demo.wait_for_stdout(STREAMING)
    [worker] = workers_of(demo)
    worker.kill()
    assert demo.wait() == 1
    assert re.search(r"^Failed: .*no_available_workers.* The first: ", demo.stdout, re.MULTILINE), demo.stdout
    assert "none lost" not in demo.stdout
    assert re.search(r"^worker-1 +gone ", demo.stdout, re.MULTILINE)


def test_workers_that_cannot_start_are_one_clear_line(programs: Programs, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    # Python runs this file first: it ignores the demo, and ends its workers as a broken installation would.
    (broken / "sitecustomize.py").write_text(
        "import sys\nif 'taskferry.worker' in sys.orig_argv: sys.exit('no such luck')\n"
    )
    demo = programs.start(*DEMO, "--seconds", "1", environment={"PYTHONPATH": str(broken)})
    assert demo.wait() == 1
    assert re.fullmatch(r"error: worker-[123] ended with exit code \d+: .*\n", demo.stderr), demo.stderr


def test_a_reader_that_closes_the_pipe_ends_it_quietly() -> None:
    demo = subprocess.Popen(
        [sys.executable, *DEMO, "--seconds", "600", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        _, stderr = demo.communicate(timeout=PATIENCE_S)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 1
    assert stderr == b""


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--seconds", "nan"), "--seconds"),
        (("--seconds", "0.4"), "--seconds"),
        (("--seconds", "86401"), "--seconds"),
        (("--workers", "0"), "--workers"),
        (("--workers", "17"), "--workers"),
        (("--concurrency", "0"), "--concurrency"),
        (("--concurrency", "1001"), "--concurrency"),
        (("--export", "no/such/folder/demo.svg"), "no/such/folder"),
    ],
)
def test_a_wrong_option_is_one_clear_line(programs: Programs, options: tuple[str, str], what: str) -> None:
    demo = programs.start(*DEMO, *options)
    assert demo.wait() == 2
    assert demo.stdout == ""
    assert re.fullmatch(rf"error: .*{re.escape(what)}.*\n", demo.stderr), demo.stderr


# --- on a terminal ---


class Terminal:
    """A program on its own terminal, 80 by 24. `text` is everything that it has written."""

    _LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"

    def __init__(self, *arguments: str) -> None:
        self._end, inner = os.openpty()
        self.text = ""
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", self._LOGIN, str(inner), sys.executable, *arguments],
                pass_fds=(inner,),
                env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
            )
        finally:
            os.close(inner)

    def close(self) -> None:
        self._popen.kill()
        self._popen.wait()
        os.close(self._end)

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def read_until(self, pattern: str) -> None:
        """Return once `pattern` has been written."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.text):
            assert self._read(give_up_at), f"ended without {pattern!r}: {self.text[-3000:]!r}"

    def wait(self) -> int:
        """Read to the end; the exit code."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self._read(give_up_at):
            pass
        return self._popen.wait(PATIENCE_S)

    def _read(self, give_up_at: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(0.0, give_up_at - time.monotonic()))
        assert ready, f"timed out: {self.text[-3000:]!r}"
        try:
            piece = os.read(self._end, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    started = Terminal(*arguments)
    try:
        yield started
    finally:
        started.close()


def plain(text: str) -> str:
    """The text without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_on_a_terminal_there_is_a_live_table() -> None:
    with terminal(*DEMO, "--seconds", "1") as screen:
        assert screen.wait() == 0
    assert screen.text.count("now/s") >= 2, "it was drawn several times"
    assert screen.text.index("\x1b[?25l") < screen.text.rindex("\x1b[?25h"), "the cursor is back"
    last_frame = plain(screen.text[screen.text.rindex("A broker") :])
    assert "average/s" in last_frame
    assert re.search(
        r"[\d,]+ requests in 1\.\d s: each answered once, every answer correct, none lost\.\s*$", last_frame
    )


@pytest.mark.parametrize("moment", ["Starting a broker", "now/s", "average/s"])
def test_ctrl_c_at_any_moment_is_clean(moment: str) -> None:
    seconds = "0.5" if moment == "average/s" else "600"
    with terminal(*DEMO, "--seconds", seconds, "--workers", "2") as screen:
        screen.read_until(moment)
        screen.type("\x03")
        assert screen.wait() == 0, screen.text
    end = plain(screen.text)
    assert "Traceback" not in end
    assert "error" not in end
    assert re.search(r"(Stopped before the first request|none lost)\.\s*(\^C)?\s*$", end), end[-500:]
    assert screen.text.index("\x1b[?25l") < screen.text.rindex("\x1b[?25h")


# --- the killed worker ---


async def test_a_killed_worker_is_restarted_and_loses_neither_request_nor_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_run, "KILL_S_MAX", 0.3)
    monkeypatch.setattr(demo_run, "RESTART_S_MAX", 0.5)
    monkeypatch.setattr(demo_run, "JOB_S_MAX", 0.6)
    run = DemoRun(duration_s=600, worker_count=3, concurrency=24)
    try:
        await run.start()
        before = {row.name: row for row in run.look().workers}
        streaming = asyncio.create_task(run.stream())
        async with asyncio.timeout(PATIENCE_S):
            while not run.look().incidents:
                await asyncio.sleep(0.005)
            (victim,) = [row.name for row in run.look().workers if row.state == "killed"]
            assert f"{victim} was just killed" in run.look().headline
            while len(run.look().incidents) < 3:
                await asyncio.sleep(0.005)
        await run.count_in_flight()
        assert run.look().in_flight_count == 24
        assert all(0 <= row.in_flight_count <= 16 for row in run.look().workers)
        done_count = run.tally.done_by_worker[victim]
        async with asyncio.timeout(PATIENCE_S):
            while run.tally.done_by_worker[victim] == done_count:
                await asyncio.sleep(0.005)
        run.interrupt()
        await streaming
        after = {row.name: row for row in run.look().workers}
        outcome = run.outcome()
    finally:
        await run.stop()
    killed, back, job = run.look().incidents
    assert re.fullmatch(
        rf"{victim} was killed \(kill -9\); (its \d+ requests? went .*|it had no .*)", killed.text
    )
    assert back.text.startswith(f"{victim} is back")
    assert re.fullmatch(r"the job that it ran is done: worker-\d ran it again \(attempt 2\)", job.text)
    assert killed.at_s < back.at_s < job.at_s
    assert {name for name in before if before[name].process_id != after[name].process_id} == {victim}
    assert [row.in_flight_count for row in after.values()] == [0, 0, 0]
    assert outcome.failures == {}
    assert outcome.unanswered_count == 0
    assert all(row.done_count > 0 for row in after.values())
