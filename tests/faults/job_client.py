"""A requester connection in the test's own process for what concerns jobs: each message with a request_id gets its
answer, and what comes by itself (`assigned`, `ended`) is kept in order."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.faults.caller import ended
from tests.processes import PATIENCE_S

STEPS: Final = ("assigned", "ended")
PAGE_COUNT: Final = 1000

_numbers: Final = itertools.count(1)


class JobClient:
    """One connection. `steps`: the messages that nobody asked for, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.steps: list[Any] = []
        self._future_by_id: dict[str, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def send(self, message: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Send a message; the future of its answer, which is None if the connection ends first."""
        request_id = f"j{next(_numbers)}"
        future = asyncio.get_running_loop().create_future()
        self._future_by_id[request_id] = future
        await self.connection.send(json.dumps({**message, "request_id": request_id}))
        return future

    async def ask(self, kind: str, timeout_s: float = PATIENCE_S, **fields: Any) -> Any:
        """The answer to a message of type `kind`."""
        return (await ended([await self.send({"type": kind, **fields})], timeout_s))[0]

    async def submit(self, command: str, data: Any = None, **options: Any) -> str:
        """Submit a job that must be accepted; its job_id."""
        receipt = await self.ask("submit", command=command, data=data or {}, **options)
        assert receipt["type"] == "receipt", receipt
        job_id: str = receipt["job_id"]
        return job_id

    async def submit_all(self, command: str, count: int, data: Any = None, **options: Any) -> list[str]:
        """The same for `count` jobs at once; `{}` in a value of `options` stands for the job's number."""
        messages = (
            {"type": "submit", "command": command, "data": data or {}, **_numbered(options, number)}
            for number in range(count)
        )
        receipts = await ended([await self.send(message) for message in messages])
        for receipt in receipts:
            assert receipt["type"] == "receipt", receipt
        return [receipt["job_id"] for receipt in receipts]

    async def view(self, job_id: str) -> Any:
        """What is known of a job."""
        answer = await self.ask("job", job_id=job_id)
        assert answer["type"] == "job", answer
        return answer["job"]

    async def views(self, **fields: Any) -> dict[str, Any]:
        """All jobs that match a filter, by job_id."""
        found: dict[str, Any] = {}
        cursor = None
        while True:
            page = await self.ask("list", filter=fields or None, cursor=cursor, count=PAGE_COUNT)
            assert page["type"] == "jobs", page
            found |= {view["job_id"]: view for view in page["jobs"]}
            cursor = page["cursor"]
            if cursor is None:
                return found

    async def result(self, job_id: str, timeout_s: float = PATIENCE_S) -> Any:
        """The response of a job, once it has ended."""
        return await self.ask("await", timeout_s, job_id=job_id)

    async def close(self) -> None:
        """Close the connection. Raises what its reader has found wrong."""
        await self.connection.close()
        await self._reading

    async def _read(self) -> None:
        try:
            while True:
                message = json.loads(await self.connection.recv())
                if message.get("type") in STEPS:
                    self.steps.append(message)
                else:
                    assert message["request_id"] in self._future_by_id, f"nobody asked for {message}"
                    self._future_by_id.pop(message["request_id"]).set_result(message)
        except ConnectionClosed:
            pass
        finally:
            for future in self._future_by_id.values():
                future.set_result(None)
            self._future_by_id.clear()


def _numbered(options: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {
        name: value.replace("{}", str(number)) if isinstance(value, str) else value
        for name, value in options.items()
    }


@asynccontextmanager
async def job_client(url: str, **options: Any) -> AsyncIterator[JobClient]:
    """A client of the broker at `url`."""
    async with websockets.connect(
        url,
        max_size=None,
        open_timeout=PATIENCE_S,
        close_timeout=1,
        ping_interval=None,
        compression=None,
        **options,
    ) as connection:
        client = JobClient(connection)
        try:
            yield client
        finally:
            await client.close()
