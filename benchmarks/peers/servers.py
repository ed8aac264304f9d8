"""The servers that are compared: where each is found, how it is started on a free port, where it prints that it
listens.

A server that a distribution's service manager may have started is left alone: each of these is our own process, on
loopback, with nothing on disk that outlives it.
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
from ..contenders import HOST, nats, taskferry

# Debian installs servers in folders that are not on a user's PATH.
_SERVER_FOLDERS = "/usr/local/sbin:/usr/sbin"
# Debian's program on the PATH is a wrapper that becomes the user of the system's own node, and changes to its folder.
_RABBITMQ_FOLDERS = "/usr/lib/rabbitmq/bin"
VERSION_TIMEOUT_S = 20.0

DEBIAN_PACKAGES = {
    "nats-server": "nats-server",
    "redis-server": "redis-server",
    "gearmand": "gearman-job-server",
    "rabbitmq-server": "rabbitmq-server",
}
"""The package of each program."""


class Missing(Exception):
    """A server or a package is not installed. The text says how to install it."""


@dataclass(frozen=True, slots=True)
class Server:
    """`command` starts it, `find_addresses` reads what it printed; one is made for each start, as its ports are its
    own.

    `version` asks the program itself, or the package.
    """

    command: tuple[str, ...]
    find_addresses: Callable[[str], Addresses | None]
    version: Callable[[], str]


def taskferry_server() -> Server:
    """The broker of this checkout under this interpreter, all settings but the ports at their defaults."""
    contender = taskferry()
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
    """redis-server that keeps nothing on disk. Raises Missing."""
    program = _find("redis-server")
    port = free_port()
    options = ("--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no", "--daemonize", "no")
    return Server(
        (program, *options), says("Ready to accept connections", port), partial(_printed_version, program)
    )


def gearmand_server() -> Server:
    """gearmand that keeps nothing on disk but its pid file, which it requires. Raises Missing."""
    program = _find("gearmand")
    port = free_port()
    options = (
        *("--listen", HOST, "--port", str(port), "--log-file", "stderr", "--verbose", "INFO"),
        # It deletes its pid file when it ends, whatever that file is: so it must be one of our own.
        *("--config-file", os.devnull, "--pid-file", "{folder}/gearmand.pid"),
    )
    return Server((program, *options), says("Listening on", port), partial(_printed_version, program))


def rabbitmq_server() -> Server:
    """Our own RabbitMQ node, which rabbitmq_node.py keeps apart from any other. Raises Missing."""
    program = shutil.which("rabbitmq-server", path=_RABBITMQ_FOLDERS) or _find("rabbitmq-server")
    port = free_port()
    # The program does not print its version, and the one that does boots a virtual machine; the folder is named after
    # it.
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
    """A TCP port on which nothing listens, for servers that do not accept 0 for one."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def is_installed(name: str) -> bool:
    """Whether there is a program `name`, one of DEBIAN_PACKAGES."""
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
