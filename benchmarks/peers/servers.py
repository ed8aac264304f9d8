"""The servers that are compared: where each is found, how it is started on a free port, where it prints its address.

Any instance that the system's service manager has started is left alone: each of these is our own process, on loopback,
with nothing on disk that outlives it.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from ..broker_process import Addresses
from ..contenders import HOST, nats, taskferry, with_journal

# Debian puts servers in a folder that is not on a user's PATH.
_SERVER_FOLDERS = ":".join(
    (
        "/usr/local/sbin",
        "/usr/sbin",
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
    )
)
# Debian's program on the PATH is a wrapper that switches to the user and the folder of the system's own node.
_RABBITMQ_FOLDERS = "/usr/lib/rabbitmq/bin"
VERSION_TIMEOUT_S = 20.0

DEBIAN_PACKAGES = {
    "nats-server": "nats-server",
    "redis-server": "redis-server",
    "gearmand": "gearman-job-server",
    "rabbitmq-server": "rabbitmq-server",
    "postgres": "postgresql",
}
"""The package of each program."""


class Missing(Exception):
    """A server or a package is not installed. The text says how to install it."""


@dataclass(frozen=True, slots=True)
class Server:
    """`command` starts it, `find_addresses` parses its output. Make a new one for each start: it has its own ports.

    `version` comes from the program itself, or from its package.
    """

    command: tuple[str, ...]
    find_addresses: Callable[[str], Addresses | None]
    version: Callable[[], str]


def taskferry_server() -> Server:
    """The broker of this checkout under this interpreter, with default settings except the ports."""
    contender = taskferry()
    return Server(contender.command, contender.find_addresses, partial(version, "taskferry"))


def durable_taskferry_server() -> Server:
    """The same with a journal. It writes each job to disk (fsync) before it gives a receipt."""
    contender = with_journal(taskferry())
    return Server(contender.command, contender.find_addresses, partial(version, "taskferry"))


def nats_server() -> Server:
    """nats-server with its default settings. Raises Missing."""
    contender = nats()
    if contender is None:
        raise _missing("nats-server")
    return Server(
        contender.command, contender.find_addresses, partial(_printed_version, contender.command[0])
    )


def redis_server() -> Server:
    """redis-server that stores nothing on disk. Raises Missing."""
    program = _find("redis-server")
    port = free_port()
    options = ("--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no", "--daemonize", "no")
    return Server(
        (program, *options), says("Ready to accept connections", port), partial(_printed_version, program)
    )


def durable_redis_server() -> Server:
    """redis-server that has each command on disk (fsync) before it answers. Raises Missing."""
    program = _find("redis-server")
    port = free_port()
    options = (
        *("--bind", HOST, "--port", str(port), "--save", "", "--daemonize", "no", "--dir", "{folder}"),
        *("--appendonly", "yes", "--appendfsync", "always"),
    )
    return Server(
        (program, *options), says("Ready to accept connections", port), partial(_printed_version, program)
    )


def postgres_server() -> Server:
    """Our own PostgreSQL server, with its default settings: see postgres_server.py. Raises Missing."""
    program = _find("postgres")
    port = free_port()
    folder = str(Path(program).resolve().parent)
    return Server(
        (sys.executable, "-m", "benchmarks.peers.postgres_server", folder, str(port), "{folder}"),
        says("database system is ready to accept connections", port),
        partial(_printed_version, program),
    )


def gearmand_server() -> Server:
    """gearmand that stores nothing on disk but its pid file, which it insists on. Raises Missing."""
    program = _find("gearmand")
    port = free_port()
    options = (
        *("--listen", HOST, "--port", str(port), "--log-file", "stderr", "--verbose", "INFO"),
        # It deletes its pid file when it ends, whatever that file is: it must be our own.
        *("--config-file", os.devnull, "--pid-file", "{folder}/gearmand.pid"),
    )
    return Server((program, *options), says("Listening on", port), partial(_printed_version, program))


def rabbitmq_server() -> Server:
    """Our own RabbitMQ node, which rabbitmq_node.py isolates from any other. Raises Missing."""
    program = shutil.which("rabbitmq-server", path=_RABBITMQ_FOLDERS) or _find("rabbitmq-server")
    port = free_port()
    # The program cannot print its version, and the one that can boots a virtual machine; the folder name has it.
    installed_in = str(Path(program).resolve())
    return Server(
        (sys.executable, "-m", "benchmarks.peers.rabbitmq_node", program, str(port), "{folder}"),
        says("Server startup complete", port),
        partial(_first_version, installed_in),
    )


def says(ready: str, port: int) -> Callable[[str], Addresses | None]:
    """For a server that prints `ready` once it listens on `port`."""

    def find_addresses(printed: str) -> Addresses | None:
        return Addresses((HOST, port), (HOST, port)) if ready in printed else None

    return find_addresses


def free_port() -> int:
    """A TCP port that is not in use, for servers that do not accept port 0."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def is_installed(name: str) -> bool:
    """Whether the program `name`, one of DEBIAN_PACKAGES, is installed."""
    return _path(name) is not None


def _find(name: str) -> str:
    program = _path(name)
    if program is None:
        raise _missing(name)
    return program


def _path(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SERVER_FOLDERS)


def _missing(name: str) -> Missing:
    return Missing(f"{name} is not installed (Debian: apt install {DEBIAN_PACKAGES[name]})")


def _printed_version(program: str) -> str:
    printed = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=True
    )
    return _first_version(printed.stdout + printed.stderr)


def _first_version(text: str) -> str:
    found = re.search(r"\d+\.\d+[.\d]*", text)
    return found[0] if found else "unknown"
