"""Memory goes back to the system once much of it was freed, and not for less."""

import platform
import subprocess
import sys

import pytest
from taskferry.broker.memory import TRIM_SIZE_BYTES_MIN, Memory

FAULTS_OF_BUFFERS = """
import resource, sys
from taskferry.broker.memory import keep_freed

if sys.argv[1] == "kept":
    keep_freed()

def fill_and_free(times):
    for _ in range(times):
        buffers = [b"x" * 260_000 for _ in range(8)]
        del buffers

fill_and_free(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill_and_free(100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


class Program:
    """What a program uses, and how often it gave memory back."""

    def __init__(self) -> None:
        self.used_size_bytes = 0
        self.trims_count = 0
        self.memory = Memory(lambda: self.used_size_bytes, self._trim)

    def _trim(self) -> None:
        self.trims_count += 1

    def uses(self, size_bytes: int) -> int:
        """Check while it uses so much. Returns how often it has given back."""
        self.used_size_bytes = size_bytes
        self.memory.check()
        return self.trims_count


def test_much_that_was_freed_is_given_back_once() -> None:
    program = Program()
    assert program.uses(10 + TRIM_SIZE_BYTES_MIN) == 0
    assert program.uses(11) == 0, "a byte too little"
    assert program.uses(10) == 1
    assert program.uses(0) == 1
    assert program.uses(TRIM_SIZE_BYTES_MIN) == 1
    assert program.uses(0) == 2


def test_what_is_freed_bit_by_bit_counts_together() -> None:
    program = Program()
    program.uses(3 * TRIM_SIZE_BYTES_MIN)
    steps_count = 24
    for step in range(steps_count, -1, -1):
        program.uses(3 * TRIM_SIZE_BYTES_MIN * step // steps_count)
    assert program.trims_count == 3


def test_the_c_library_is_asked_or_nobody_is() -> None:
    memory = Memory(iter((TRIM_SIZE_BYTES_MIN, 0)).__next__)
    memory.check()
    memory.check()  # no error, whatever library this is


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc gives the top of its heap back at once"
)
def test_buffers_that_are_freed_are_used_again_without_asking_the_system() -> None:
    def faults_count(freed: str) -> int:
        command = [sys.executable, "-c", FAULTS_OF_BUFFERS, freed]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout)

    assert faults_count("given back") > 10_000, "otherwise there would be nothing to mend"
    assert faults_count("kept") < 100
