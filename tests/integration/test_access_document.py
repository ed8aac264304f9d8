"""docs/access.md is tried: its commands run in a shell, in order, and show what it says."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.processes import PATIENCE_S, Programs
from tests.unit.docs.pages import Block, page

PAGE: Final = page("docs/access.md")
PORTS: Final = ("8765", "8766", "8767", "8768")
"""The ports on the page, or of a broker that is started there: of workers, requesters, HTTP, the API."""

BEFORE: Final = """
exec > transcript 2>&1
trap 'kill $(jobs -p)' EXIT
mark() { seen=$(wc -c < transcript); }
expect() {
    for attempt in $(seq 400); do
        tail -c +$((seen + 1)) transcript | grep -qF -- "$1" && return
        sleep 0.05
    done
    echo "NOT SHOWN: $1"
    exit 1
}
"""
"""What the shell needs besides the page: `expect TEXT` waits until TEXT is shown after the last `mark`."""


def script(blocks: list[Block]) -> str:
    """The page's commands as one script. The lines of a `text` that follows commands must all be shown after they were
    started."""
    parts = [BEFORE]
    for language, text in blocks:
        if language == "sh":
            parts += ["mark", text]
        elif language == "text":
            parts += [f"expect {shlex.quote(line)}" for line in text.splitlines()]
    return "\n".join([*parts, "trap - EXIT", "echo ALL SHOWN", ""])


def on_free_ports(text: str) -> tuple[str, dict[str, str]]:
    """The script with free ports for those of the page, and the variables that make them the programs' defaults."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        free = [str(probe.getsockname()[1]) for probe in probes]
    for port, other in zip(PORTS, free, strict=True):
        text = text.replace(f":{port}", f":{other}")
    worker, requester, http, api = free
    return text, {
        "TASKFERRY_BROKER_WORKER_PORT": worker,
        "TASKFERRY_BROKER_REQUESTER_PORT": requester,
        "TASKFERRY_BROKER_HTTP_PORT": http,
        "TASKFERRY_BROKER_API_PORT": api,
        "TASKFERRY_WORKER_BROKER": f"ws://localhost:{worker}",
        "TASKFERRY_REQUEST_BROKER": f"ws://localhost:{requester}",
    }


def bash() -> str:
    """A bash. Skips the test if there is none, or no OpenSSL that can do what the page says (LibreSSL cannot)."""
    found = shutil.which("bash")
    if found is None or shutil.which("openssl") is None:
        pytest.skip("bash and OpenSSL 3 are needed")
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("OpenSSL 3"):
        pytest.skip(f"OpenSSL 3 is needed, not {version.strip()}")
    return found


def test_its_commands_show_what_it_says(programs: Programs, tmp_path: Path) -> None:
    text, environment = on_free_ports(script(PAGE.blocks))
    (tmp_path / "page.sh").write_text(text)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = f"cd {shlex.quote(str(tmp_path))} && . ./page.sh"
    shell = programs.start("-c", command, executable=bash(), environment=environment)
    shell.wait(4 * PATIENCE_S)
    transcript = (tmp_path / "transcript").read_text()
    assert transcript.endswith("ALL SHOWN\n"), transcript
    assert "Traceback" not in transcript
