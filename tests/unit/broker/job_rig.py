"""A broker with a journal in the test's event loop, and peers that speak JSON or MessagePack when the test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskferry.broker.broker import Broker
from taskferry.broker.identity.policy import OPEN, Policy
from taskferry.broker.settings import BrokerSettings
from taskferry.credentials.token import Token
from taskferry.protocol.encodings import Encoding
from taskferry.transport.connect import connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.settings import LinkSettings

from tests.unit.broker.access_files import token_of
from tests.unit.broker.shell import Peer
from tests.unit.transport.ends import Recorder
from tests.unit.transport.waiting import until


class JobRig:
    """Starts brokers on the journal at `path`, one after the other."""

    def __init__(self, path: Path, policy: Policy = OPEN, **settings: Any) -> None:
        self.path = path
        self._policy = policy
        self._settings = {
            "journal": str(path),
            "worker_port": 0,
            "requester_port": 0,
            "api_port": 0,
            **settings,
        }
        self._group = LinkGroup()
        self.broker = self._new_broker()

    def _new_broker(self) -> Broker:
        return Broker(BrokerSettings(**self._settings), self._policy)

    async def start(self) -> None:
        await self.broker.start()

    async def restart(self, grace_s: float = 0) -> None:
        """Stop the broker in order, and start another one."""
        await self.broker.stop(grace_s)
        self.broker = self._new_broker()
        await self.start()

    async def close(self) -> None:
        for link in tuple(self._group.links):
            assert isinstance(link, Link)
            link.abort("the test is over")
        await self.broker.stop(0)
        await until(lambda: not self._group.links)
        self._group.close()

    async def requester(self, encoding: Encoding = Encoding.JSON, identity: str | None = None) -> "Asking":
        return Asking(await self._connect(self.broker.requester_port, encoding, identity))

    async def worker(
        self,
        name: str = "w",
        encoding: Encoding = Encoding.JSON,
        *,
        running: tuple[dict[str, Any], ...] = (),
        **hello: Any,
    ) -> Peer:
        """A worker of `work` with one slot, by default, that was welcomed."""
        peer = await self._connect(self.broker.worker_port, encoding, None)
        data = {"name": name, "commands": ["work"], "instance": name, "running": list(running), **hello}
        peer.send({"type": "connect", "data": data})
        assert (await peer.receive())["type"] == "connect"
        return peer

    async def worker_connection(self) -> Peer:
        """A connection on the worker port that has said nothing."""
        return await self._connect(self.broker.worker_port, Encoding.JSON, None)

    async def _connect(self, number: int, encoding: Encoding, identity: str | None) -> Peer:
        recorder = Recorder()
        token = None if identity is None else Token(token_of(identity))
        url = f"ws://127.0.0.1:{number}"
        link = await connect(url, recorder, self._group, LinkSettings(), encoding, token=token)
        return Peer(recorder, link)


class Asking:
    """A requester that asks one thing after the other."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._count = 0

    def send(self, message: dict[str, Any]) -> str:
        """Send it under a request_id of its own, which is returned."""
        self._count += 1
        request_id = message.get("request_id") or f"q{self._count}"
        self.peer.send({"request_id": request_id, **message})
        return request_id

    async def ask(self, type_: str, **fields: Any) -> Any:
        """The answer to a message of this type."""
        request_id = self.send({"type": type_, **fields})
        answer = await self.peer.receive()
        assert answer["request_id"] == request_id, answer
        return answer

    async def submit(self, command: str = "work", **fields: Any) -> str:
        """Submit a job; returns its id."""
        receipt = await self.ask("submit", command=command, **fields)
        assert receipt["type"] == "receipt", receipt
        assert not receipt["duplicate"]
        return str(receipt["job_id"])

    async def view(self, job_id: str) -> Any:
        """The job as it is shown."""
        return (await self.ask("job", job_id=job_id))["job"]

    async def ended(self, job_id: str) -> Any:
        """The response of the job, once it has ended."""
        return await self.ask("await", job_id=job_id, timeout=20)


def claim(assignment: Any) -> dict[str, Any]:
    """A claim of this attempt."""
    job = assignment["data"]["job"]
    return {"msg_id": assignment["msg_id"], "job_id": job["job_id"], "attempt": job["attempt"]}


def respond(worker: Peer, assignment: Any, **result: Any) -> None:
    """Answer an assignment, by default with success."""
    data = result or {"success": True, "result": "done"}
    worker.send({"type": "response", "msg_id": assignment["msg_id"], "data": data})


@asynccontextmanager
async def job_rig(path: Path, policy: Policy = OPEN, **settings: Any) -> AsyncIterator[JobRig]:
    """`settings`: those of the broker."""
    rig = JobRig(path, policy, **settings)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.close()
