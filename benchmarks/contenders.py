"""The brokers that are compared, one entry each: how it is started, where it prints its addresses, what its load is.

Nothing else in the measurement names a broker.
"""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Final, Protocol

from .broker_process import Addresses
from .floors.peers import TcpRequester, TcpWorker, WebSocketRequester, WebSocketWorker
from .load import Load
from .peers.nats import NatsRequester, NatsWorker
from .request_stream import RequestStream
from .taskferry_peers import TaskferryRequester, TaskferryWorker

HOST: Final = "127.0.0.1"
TASKFERRY: Final = "taskferry"
# Debian puts servers in a folder that is not on a user's PATH.
_SERVER_FOLDERS = "/usr/local/sbin:/usr/sbin"


class Peer(Protocol):
    """A connection of a load, as the measurement sees it."""

    async def open(self, address: tuple[str, int]) -> None: ...
    def close(self) -> None: ...


class Requester(Peer, Protocol):
    """A peer that sends the first requests of a stream on `start`, and the rest by itself."""

    def start(self) -> None: ...


class PacedRequester(Requester, Protocol):
    """A requester that also sends single requests on demand."""

    def send_next(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Contender:
    """One broker of the comparison: `command` starts it, `find_addresses` reads what it printed."""

    name: str
    command: tuple[str, ...]
    find_addresses: Callable[[str], Addresses | None]
    make_requester: Callable[[Load, RequestStream], Requester]
    make_worker: Callable[[Load, RequestStream, str], Peer]


def taskferry(python: str = sys.executable) -> Contender:
    """The broker of this checkout under the interpreter `python`, with default settings except the ports."""
    ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
    return Contender(
        name=TASKFERRY,
        command=(python, "-m", "taskferry.broker", "--host", HOST, *ports),
        find_addresses=_find_taskferry_addresses,
        make_requester=TaskferryRequester,
        make_worker=TaskferryWorker,
    )


def with_journal(broker: Contender) -> Contender:
    """The same broker with a journal on disk, in the folder that is removed when it ends."""
    return replace(broker, command=(*broker.command, "--journal", "{folder}/journal.db"))


def floors() -> list[Contender]:
    """The relays that bound from below what a broker costs; picows's only if it is installed."""
    wires: list[
        tuple[str, Callable[[Load, RequestStream], Requester], Callable[[Load, RequestStream, str], Peer]]
    ]
    wires = [
        ("tcp", TcpRequester, TcpWorker),
        ("websockets", WebSocketRequester, WebSocketWorker),
    ]
    if find_spec("picows") is not None:
        wires.append(("picows", WebSocketRequester, WebSocketWorker))
    return [
        Contender(
            name=f"{name} floor",
            command=(sys.executable, "-m", f"benchmarks.floors.{name}_relay"),
            find_addresses=find_floor_addresses,
            make_requester=make_requester,
            make_worker=make_worker,
        )
        for name, make_requester, make_worker in wires
    ]


def nats() -> Contender | None:
    """nats-server with its default settings; None if it is not installed."""
    program = shutil.which("nats-server") or shutil.which("nats-server", path=_SERVER_FOLDERS)
    if program is None:
        return None
    return Contender(
        name="nats-server",
        # It takes port -1 for any free port.
        command=(program, "--addr", HOST, "--port", "-1"),
        find_addresses=_find_nats_addresses,
        make_requester=NatsRequester,
        make_worker=NatsWorker,
    )


def contenders(broker_python: str = sys.executable) -> list[Contender]:
    """Taskferry, then the installed brokers that it is compared with."""
    peer = nats()
    return [taskferry(broker_python), *floors(), *([] if peer is None else [peer])]


def _find_taskferry_addresses(printed: str) -> Addresses | None:
    workers = re.search(r"workers\s+ws://\S+?:(\d+)\b", printed)
    requesters = re.search(r"requesters\s+ws://\S+?:(\d+)\b", printed)
    if workers is None or requesters is None:
        return None
    return Addresses(requesters=(HOST, int(requesters[1])), workers=(HOST, int(workers[1])))


def find_floor_addresses(printed: str) -> Addresses | None:
    """Where a program of floors/ listens, from what it has printed; None if it is not ready."""
    ready = re.search(r"ready: workers \S+:(\d+)  requesters \S+:(\d+)\n", printed)
    if ready is None:
        return None
    return Addresses(requesters=(HOST, int(ready[2])), workers=(HOST, int(ready[1])))


def _find_nats_addresses(printed: str) -> Addresses | None:
    listening = re.search(r"Listening for client connections on \S+:(\d+)", printed)
    if listening is None or "Server is ready" not in printed:
        return None
    address = (HOST, int(listening[1]))
    return Addresses(requesters=address, workers=address)
