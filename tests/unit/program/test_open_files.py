"""The limit on open files, tested in a separate process, because it cannot be undone."""

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="this system has no such limit")

PROGRAM = """
import resource
from taskferry.program.open_files import raise_open_files_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
raise_open_files_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""


def test_a_process_may_open_as_many_files_as_the_system_allows() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], timeout=20, check=True)
