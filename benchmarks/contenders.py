"""The brokers that are compared: how each is started, where it says that it listens, who speaks to it.

Knows one entry per broker; the measuring knows none of them by name.
"""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .broker_process import Addresses
from .load import Load
from .peers.nats import NatsRequester, NatsWorker
from .request_stream import RequestStream
from .taskferry_peers import TaskferryRequester, TaskferryWorker

HOST = "127.0.0.1"
# Debian puts servers where the PATH of a user does not look.
_SERVER_FOLDERS = "/usr/local/sbin:/usr/sbin"


class Peer(Protocol):
    """A connection of a load, as the measuring sees it."""

    async def open(self, address: tuple[str, int]) -> None: ...
    def close(self) -> None: ...


class Requester(Peer, Protocol):
    """A peer that sends the first requests of a stream when told to, and the rest by itself."""

    def start(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Contender:
    """One broker of the comparison: `command` starts it, `find_addresses` reads what it printed."""

    name: str
    command: tuple[str, ...]
    find_addresses: Callable[[str], Addresses | None]
    make_requester: Callable[[Load, RequestStream], Requester]
    make_worker: Callable[[Load, RequestStream, str], Peer]


def taskferry() -> Contender:
    """The broker of this checkout under this interpreter, all settings at their defaults but for the ports."""
    ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0")
    return Contender(
        name="taskferry",
        command=(sys.executable, "-m", "taskferry.broker", "--host", HOST, *ports),
        find_addresses=_find_taskferry_addresses,
        make_requester=TaskferryRequester,
        make_worker=TaskferryWorker,
    )


def nats() -> Contender | None:
    """nats-server with its default settings; None where it is not installed."""
    program = shutil.which("nats-server") or shutil.which("nats-server", path=_SERVER_FOLDERS)
    if program is None:
        return None
    return Contender(
        name="nats-server",
        # Port -1 is its word for any free port.
        command=(program, "--addr", HOST, "--port", "-1"),
        find_addresses=_find_nats_addresses,
        make_requester=NatsRequester,
        make_worker=NatsWorker,
    )


def _find_taskferry_addresses(printed: str) -> Addresses | None:
    workers = re.search(r"workers\s+ws://\S+?:(\d+)\b", printed)
    requesters = re.search(r"requesters\s+ws://\S+?:(\d+)\b", printed)
    if workers is None or requesters is None:
        return None
    return Addresses(requesters=(HOST, int(requesters[1])), workers=(HOST, int(workers[1])))


def _find_nats_addresses(printed: str) -> Addresses | None:
    listening = re.search(r"Listening for client connections on \S+:(\d+)", printed)
    if listening is None or "Server is ready" not in printed:
        return None
    address = (HOST, int(listening[1]))
    return Addresses(requesters=address, workers=address)
