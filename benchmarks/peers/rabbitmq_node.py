"""A RabbitMQ node for one measurement: `python -m benchmarks.peers.rabbitmq_node PROGRAM PORT FOLDER`, until SIGTERM.

Keeps everything that a node leaves on a machine apart from a node that the machine may run itself: its own name, its
own epmd (Erlang's name server) on its own port, everything on loopback, every file in FOLDER.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..contenders import HOST
from .servers import free_port

EPMD_TIMEOUT_S = 5.0
# An idle node takes two or three seconds; well below what the program that started this one allows it.
STOP_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02


def main(program: str, port: int, folder: Path) -> int:
    """Runs the node, and returns its exit code if it ends by itself."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the program that started this one, which ends it by SIGTERM
    epmd_port = free_port()
    with _group(
        [shutil.which("epmd") or "epmd", "-address", HOST, "-port", str(epmd_port)], dict(os.environ)
    ):
        _await_listening(epmd_port)
        with _group([program], _environment(folder, port, epmd_port)) as node:
            return node.wait()


def _environment(folder: Path, port: int, epmd_port: int) -> dict[str, str]:
    """What rabbitmq-server's scripts read (rabbitmq.com/docs/configure, "Environment Variables"); else defaults."""
    (folder / "empty").touch()
    return {
        **os.environ,
        "HOME": str(folder),  # the Erlang cookie
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_CONFIG_FILE": str(folder / "empty"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "empty"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_NODENAME": f"taskferry-benchmark-{os.getpid()}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


@contextmanager
def _group(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process and everything that it starts: asked to end after the block, then killed."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_listening(port: int) -> None:
    give_up_at = time.monotonic() + EPMD_TIMEOUT_S
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            if time.monotonic() > give_up_at:
                sys.exit(f"epmd does not listen on {HOST}:{port} after {EPMD_TIMEOUT_S:g} s")
            time.sleep(POLL_INTERVAL_S)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
