"""Many workers in one test process, each as small as possible: a link that answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from taskferry.protocol.encodings import Encoding
from taskferry.transport.connect import connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings

from tests.integration.peers import eventually

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module or nothing

OPENING_COUNT: Final = 50
"""Connections that are opened concurrently."""


class LeanWorker:
    """Joins, and answers every assignment with its params."""

    def __init__(self, name: str, commands: list[str]) -> None:
        self.is_welcome = False
        hello = {"name": name, "commands": commands, "concurrency": 4}
        self._hello = json.dumps({"type": "connect", "data": hello}).encode()

    def link_opened(self, link: Link) -> None:
        self._link = link
        link.send(self._hello)

    def messages_received(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            message = json.loads(payload)
            if message["type"] == "connect":
                self.is_welcome = True
            elif message["type"] == "request":
                data = {"success": True, "result": message["data"]["params"]}
                answer = {"type": "response", "msg_id": message["msg_id"], "data": data}
                self._link.send(json.dumps(answer).encode())

    def wrong_kind_received(self) -> None:
        raise AssertionError("a broker speaks what was agreed")

    def link_closed(self, reason: str) -> None:
        self.is_welcome = False


@asynccontextmanager
async def lean_workers(url: str, count: int, commands: list[str]) -> AsyncIterator[None]:
    """`count` workers of the broker at `url`, which all serve `commands`, connected and registered."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    group = LinkGroup()
    workers = [LeanWorker(f"lean-{number}", commands) for number in range(count)]
    try:
        for start in range(0, count, OPENING_COUNT):
            some = workers[start : start + OPENING_COUNT]
            await asyncio.gather(
                *(connect(url, worker, group, LinkSettings(), Encoding.JSON) for worker in some)
            )
        await eventually(lambda: all(worker.is_welcome for worker in workers), "all are taken in")
        yield
    finally:
        for link in tuple(group.links):
            assert isinstance(link, Link)
            link.abort("the test is over")
        await eventually(lambda: not group.links, "all are gone")
        group.close()
        if resource is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
