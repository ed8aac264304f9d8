"""Third-party programs that check deploy/: found, or the test is skipped and says what is missing."""

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
"""The Debian package of each program. `make test-deploy` installs the others beside pytest."""


def needed(program: str) -> str:
    """The path of `program`; if there is none, skips the test and says how to install it."""
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which(program, path=os.pathsep.join([beside_python, os.environ["PATH"], "/usr/sbin"]))
    if found is None:
        package = PACKAGES.get(program)
        how = f"on Debian and Ubuntu: apt install {package}" if package else "make test-deploy installs it"
        pytest.skip(f"{program} is not installed; {how}")
    return found


def run(program: str, *arguments: str | Path, is_successful: bool = True) -> str:
    """The output of `program`. Raises AssertionError, with that text, if it does not end as expected."""
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
    """A free port of 127.0.0.1, for programs that cannot pick one and report it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether a program on 127.0.0.1 accepts connections on this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
