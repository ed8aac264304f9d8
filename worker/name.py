"""The default name of a worker: readable, unique, and the same for as long as its process lives."""

import os
import re
import secrets
import socket

from ..protocol.limits import NAME_LENGTH_MAX

_HOST_LENGTH_MAX = NAME_LENGTH_MAX - 40
"""Leaves room for the process id, random digits, and the number that `--processes` appends."""


def default_name() -> str:
    """`HOST-PID-XXXX`. The last part distinguishes containers that share a host name, in each of which the pid is 1."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).lstrip("_.-")[:_HOST_LENGTH_MAX]
    return f"{host or 'worker'}-{os.getpid()}-{secrets.token_hex(2)}"
