"""The queue and its thread: nothing blocks, nothing is lost without being counted, and a fork is safe."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from taskferry.log import writer
from taskferry.log.writer import LineWriter, writer_to

from tests.processes import wait_until


class Reader:
    """What was written, by a reader that may pause."""

    def __init__(self) -> None:
        self.reads = threading.Event()
        self.texts: list[bytes] = []
        self.is_written_to = threading.Event()

    def write(self, data: bytes) -> None:
        self.is_written_to.set()
        assert self.reads.wait(20)
        self.texts.append(data)

    @property
    def lines(self) -> list[str]:
        return b"".join(self.texts).decode().splitlines()


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.reads.set()  # the thread goes on


def missing(count: int) -> str:
    return f"{count} missing"


def of_size(reader: Reader, lines_count: int) -> LineWriter:
    """A writer with room for this many lines of 10 bytes."""
    return LineWriter(reader.write, missing, size_bytes_max=10 * lines_count)


def test_lines_are_written_in_order_and_whole(reader: Reader) -> None:
    reader.reads.set()
    lines = LineWriter(reader.write, missing)
    for number in range(1000):
        lines.put(f"line {number}")
    lines.flush()
    assert reader.lines == [f"line {number}" for number in range(1000)]
    assert all(text.endswith(b"\n") and len(text) <= writer.WRITE_SIZE_BYTES_MAX for text in reader.texts)


def test_a_long_text_is_written_at_once(reader: Reader) -> None:
    reader.reads.set()
    lines = LineWriter(reader.write, missing)
    traceback = "\n".join(["line"] * writer.WRITE_SIZE_BYTES_MAX)
    lines.put(traceback)
    lines.flush()
    assert reader.texts == [f"{traceback}\n".encode()]


def test_what_has_no_room_is_dropped_counted_and_noted_where_it_is_missing(reader: Reader) -> None:
    lines = of_size(reader, 4)
    for number in range(4):
        lines.put(f"line {number:4}")
    assert lines.dropped_count == 0
    for _ in range(3):
        lines.put("line over.")
    assert lines.dropped_count == 3
    reader.reads.set()
    lines.flush()
    lines.put("line after")
    lines.flush()
    assert reader.lines == [*(f"line {number:4}" for number in range(4)), "3 missing", "line after"]


def test_the_note_needs_no_further_line(reader: Reader) -> None:
    lines = of_size(reader, 1)
    lines.put("line 1234")
    lines.put("line 5678")
    reader.reads.set()
    wait_until(lambda: reader.lines == ["line 1234", "1 missing"], "the note is written")


def test_after_a_gap_lines_are_taken_again_once_half_of_the_queue_is_free(reader: Reader) -> None:
    write_one = threading.Semaphore(0)

    def write(data: bytes) -> None:
        assert write_one.acquire(timeout=20)
        reader.texts.append(data)

    size_bytes = writer.WRITE_SIZE_BYTES_MAX
    lines = LineWriter(write, missing, size_bytes_max=4 * size_bytes)
    text = "x" * (size_bytes - 1)
    for _ in range(5):
        lines.put(text)
    assert lines.dropped_count == 1
    write_one.release()
    wait_until(lambda: len(reader.texts) == 1, "one is written")
    lines.put("a quarter is free")
    assert lines.dropped_count == 2
    write_one.release(2)
    wait_until(lambda: len(reader.texts) == 3, "three are written")
    wait_until(lambda: lines._size_bytes == size_bytes, "a quarter is left")
    lines.put("more than half is free")
    assert lines.dropped_count == 2
    write_one.release(10)
    lines.flush()
    assert reader.lines[-2:] == ["2 missing", "more than half is free"]


def test_a_flush_in_vain_takes_a_bounded_time_and_only_once(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FLUSH_S_MAX", 0.05)
    lines = LineWriter(reader.write, missing)
    lines.put("line")
    lines.flush()
    monkeypatch.setattr(writer, "FLUSH_S_MAX", 3600)
    lines.flush()
    reader.reads.set()
    wait_until(lambda: reader.lines == ["line"], "it is written")
    lines.put("another")
    lines.flush()  # waits again
    assert reader.lines == ["line", "another"]


def test_a_moment_without_threads_delays_lines(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader.reads.set()
    lines = LineWriter(reader.write, missing)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        lines.put("early")
    lines.put("late")
    lines.flush()
    assert reader.lines == ["early", "late"]


def test_a_stream_that_takes_nothing_costs_its_lines_only(tmp_path: object) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        lines = writer_to(stream, missing)
        lines.put("for nobody")
        lines.flush()
    nowhere = writer_to(None, missing)
    nowhere.put("for nobody")
    nowhere.flush()


FORKING = """
import logging, os, sys, threading, time
from taskferry.log.settings import LogSettings
from taskferry.log.setup import set_up_logging

reading, writing = os.pipe()  # which nobody reads
os.dup2(writing, 2)
set_up_logging(LogSettings(level="info"))
logger = logging.getLogger("test")
is_over = threading.Event()

def keep_logging():
    while not is_over.is_set():
        logger.info("x" * 200)

threading.Thread(target=keep_logging, daemon=True).start()
for _ in range(30):
    time.sleep(0.001)
    child = os.fork()
    if child == 0:
        logger.info("from the child")
        logging.shutdown()
        os._exit(0)
    os.waitpid(child, 0)
is_over.set()
print("done", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_at_any_moment_leaves_a_child_that_can_log_and_end() -> None:
    began_at = time.monotonic()
    end = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert end.stdout == "done\n"
    assert time.monotonic() - began_at < 15


FORKED_ONCE = """
import logging, os
from taskferry.log.settings import LogSettings
from taskferry.log.setup import set_up_logging

set_up_logging(LogSettings(level="info"))
logging.info("from the parent")
child = os.fork()
logging.info("from the " + ("parent again" if child else "child"))
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_each_line_is_written_once_also_by_a_child_that_ends_at_once() -> None:
    end = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED_ONCE],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    texts = sorted(line.split("INFO")[1].strip() for line in end.stderr.splitlines())
    assert texts == ["from the child", "from the parent", "from the parent again"]
