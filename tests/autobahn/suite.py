"""Autobahn's test suite for WebSocket servers, in the Python that it needs.

The suite was last released for Python 2.7. It is installed once, into `.cache/autobahn`, by the pip of a Python 2.7
that is found here; where there is none, or the packages cannot be downloaded, `suite` says so in one line.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

VERSION: Final = "25.10.1"
FOLDER: Final = Path(__file__).parents[2] / ".cache" / "autobahn"
PACKAGES: Final = FOLDER / VERSION
INSTALL_S_MAX: Final = 600.0
RUN_S_MAX: Final = 900.0
START: Final = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""
"""Starts the suite from its folder, whose `.pth` files are read, which PYTHONPATH does not do."""


class Unavailable(Exception):
    """The suite cannot run here: why, and what would help, in one line."""


@cache
def suite() -> str:
    """The Python that has the suite. Raises Unavailable."""
    python = next(_pythons(), None)
    if python is None:
        text = "no Python 2.7 with pip is installed, which Autobahn's test suite needs (set PYTHON2 to one)"
        raise Unavailable(text)
    if not (PACKAGES / ".ready").exists():
        shutil.rmtree(PACKAGES, ignore_errors=True)
        PACKAGES.mkdir(parents=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--target", str(PACKAGES), f"autobahntestsuite=={VERSION}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_S_MAX)
        if done.returncode:
            last = ([line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"])[-1]
            raise Unavailable(f"autobahntestsuite {VERSION} could not be installed: {last}")
        (PACKAGES / ".ready").touch()
    return python


def _pythons() -> Iterator[str]:
    """Interpreters of Python 2.7 that have pip, if any."""
    named = (os.environ.get("PYTHON2", ""), "python2.7", "python2", "pypy2.7", "pypy")
    found = [path for name in named if name and (path := shutil.which(name))]
    found += map(str, sorted(Path.home().glob(".pyenv/versions/*2.7*/bin/python2.7")))
    for python in found:
        command = [python, "-c", "import pip, sys; sys.exit(sys.version_info[:2] != (2, 7))"]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            yield python


def results(
    folder: Path, url: str, cases: Sequence[str], *, subprotocol: str | None = None
) -> Mapping[str, Mapping[str, Any]]:
    """Runs `cases` (`"1.1.*"`) against the server at `url`. Returns by case number what the suite says of it:
    `behavior` ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED") and `behaviorClose`, which judges the
    end of the connection. Raises Unavailable, or AssertionError if the suite itself fails."""
    server = {"agent": "taskferry", "url": url, "protocols": [subprotocol] if subprotocol else []}
    specification = {
        "outdir": str(folder / "reports"),
        "servers": [server],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = folder / "fuzzingclient.json"
    path.write_text(json.dumps(specification))
    command = [suite(), "-c", START, str(PACKAGES), "--mode", "fuzzingclient", "--spec", str(path)]
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, errors="replace", timeout=RUN_S_MAX
    )
    index = folder / "reports" / "index.json"
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert index.exists(), (done.stdout + done.stderr)[-2000:]
    found: Mapping[str, Mapping[str, Any]] = json.loads(index.read_text())["taskferry"]
    return found
