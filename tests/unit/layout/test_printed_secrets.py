"""A test that prints a token fails, and so does one whose programs do."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.printed_secrets import check_no_token
from tests.processes import Program
from tests.unit.layout.source_tree import ROOT


@pytest.mark.parametrize(
    "shown",
    [
        "Bearer tfk_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "eyJhbGciOiJI.eyJzdWIiOiJhIn0.c2ln",
        "tfk_12345678",
    ],
)
def test_a_token_is_found(shown: str) -> None:
    with pytest.raises(AssertionError, match="stderr shows a token"):
        check_no_token(f"refused: {shown}\n", "stderr")


def test_what_is_no_token_is_not() -> None:
    check_no_token("tfk_ and 43 characters; taskferry.token.TOKEN; eyJ is how JWTs start; 3f2a9c01", "stdout")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_that_prints_one_fails_its_test(tmp_path: Path, stream: str) -> None:
    program = Program(tmp_path, "-c", f"import sys; print('tfk_12345678', file=sys.{stream})")
    with pytest.raises(AssertionError, match="shows a token"), program:
        program.wait(5)


def test_a_test_that_prints_or_logs_one_fails(tmp_path: Path) -> None:
    test = tmp_path / "test_leak.py"
    test.write_text(
        "import logging\n"
        "def test_print():\n    print('tfk_12345678')\n"
        "def test_log():\n    logging.warning('tfk_12345678')\n"
        "def test_neither():\n    print('tfk_')\n"
    )
    words = ["-m", "pytest", "-q", "-p", "tests.printed_secrets", "--rootdir", str(tmp_path), str(test)]
    run = subprocess.run(
        [sys.executable, *words, "-p", "no:cacheprovider"],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.returncode
    assert "test_leak.py::test_print: Captured stdout call shows a token" in run.stdout
    assert "test_leak.py::test_log: Captured log call shows a token" in run.stdout
    assert "2 failed, 1 passed" in run.stdout
