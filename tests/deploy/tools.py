"""Other people's programs that deploy/ is held against: found, or the test skips and says what is missing.

Knows where programs are and how to run one to its end; nothing of what they check.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.processes import PATIENCE_S

PACKAGES: Final = {
    "haproxy": "haproxy",
    "nginx": "nginx",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}
"""Which Debian package has the program. Others are installed beside pytest by `make test-deploy`."""


def needed(program: str) -> str:
    """Where `program` is; where it is not, the test is skipped with a word on how to get it."""
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which(program, path=os.pathsep.join([beside_python, os.environ["PATH"], "/usr/sbin"]))
    if found is None:
        package = PACKAGES.get(program)
        how = f"on Debian and Ubuntu: apt install {package}" if package else "make test-deploy installs it"
        pytest.skip(f"{program} is not installed; {how}")
    return found


def run(program: str, *arguments: str | Path, is_successful: bool = True) -> str:
    """All that `program` prints; AssertionError, with that text, where it does not end as expected."""
    ended = subprocess.run(
        [needed(program), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S * 3,
        check=False,
    )
    assert (ended.returncode == 0) is is_successful, f"{program}: {ended.returncode}\n{ended.stdout}"
    return ended.stdout


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, for programs that cannot pick one and say which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Does somebody on 127.0.0.1 take connections there?"""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
