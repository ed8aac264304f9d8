"""The bounds of the HTTP port: how many connections, how large a head, how long a request and its answer may take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from taskferry.broker.http.connections import HttpBounds
from taskferry.broker.http.server import HttpServer
from taskferry.broker.operations import Operations

from tests.unit.broker.shell import Shell, open_shell

PATIENCE_S = 10.0
GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST /api/workers/w1/drain HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
SHORT = HttpBounds(connections_count_max=3, head_size_bytes_max=200, request_s_max=0.2, answer_s_max=0.2)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> int:
        """That of the next answer, whose body is read as well; 0 if the connection ends instead."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0
            lines = head.decode().lower().split("\r\n")
            sizes = [int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")]
            await self.reader.readexactly(sizes[0] if sizes else 0)
            return int(head.split()[1])

    async def is_closed(self) -> bool:
        """Once it is: waits."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return not await self.reader.read(1)
            except ConnectionError:
                return True


class Served:
    def __init__(self, shell: Shell, server: HttpServer) -> None:
        self.shell = shell
        self._server = server
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def open_count(self) -> int:
        return self.shell.read_model.http_counts.connections_count

    @property
    def refused(self) -> dict[str, int]:
        counts = self.shell.read_model.http_counts.refused
        return {reason.value: count for reason, count in counts.items() if count}

    async def connect(self, data: bytes = b"") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._writers.append(writer)
        writer.write(data)
        return Client(reader, writer)

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        await self._server.stop()


@asynccontextmanager
async def served(bounds: HttpBounds = SHORT) -> AsyncIterator[Served]:
    async with open_shell() as shell:
        server = HttpServer(shell.read_model, Operations(shell.core, shell.entrance), shell.entrance, bounds)
        await server.start("127.0.0.1", 0)
        port = Served(shell, server)
        try:
            yield port
        finally:
            await port.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET[:-2],
        POST + b"content-length: 2\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["nothing", "half a head", "no body", "half a body"],
)
async def test_a_request_that_is_not_finished_in_time_is_dropped(sent: bytes) -> None:
    async with served() as port:
        client = await port.connect(sent)
        assert await client.status() == 408
        assert await client.is_closed()
        assert (port.open_count, port.refused) == (0, {"too_slow": 1})


async def test_nor_does_a_second_one_that_is_not_finished_hold_its_connection() -> None:
    async with served() as port:
        client = await port.connect(GET)
        assert await client.status() == 200
        client.writer.write(GET[:-2])
        assert await client.status() == 408
        assert await client.is_closed()


async def test_a_trickle_is_no_excuse() -> None:
    async with served() as port:
        client = await port.connect(GET[:-2] + b"x: ")
        status = asyncio.create_task(client.status())
        while not status.done():
            client.writer.write(b"x")
            await asyncio.sleep(0.02)
        assert await status == 408


async def test_a_body_without_end_is_dropped_though_it_has_its_answer() -> None:
    async with served() as port:
        client = await port.connect(GET[:-2] + b"transfer-encoding: chunked\r\n\r\n")
        assert await client.status() == 200
        closed = asyncio.create_task(client.is_closed())
        while not closed.done():
            client.writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)
        assert port.refused == {"too_slow": 1}


async def test_a_connection_between_two_requests_is_not_slow() -> None:
    async with served() as port:
        client = await port.connect(GET)
        assert await client.status() == 200
        await asyncio.sleep(2 * SHORT.answer_s_max)
        client.writer.write(GET)
        assert await client.status() == 200
        assert port.refused == {}


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 431)])
async def test_a_head_at_its_bound_and_one_past_it(extra: int, status: int) -> None:
    async with served() as port:
        padding = SHORT.head_size_bytes_max - len(GET) - len(b"x: \r\n") + extra
        head = GET[:-2] + b"x: " + b"y" * padding + b"\r\n\r\n"
        client = await port.connect(head[:100])
        await asyncio.sleep(0.02)
        client.writer.write(head[100:])
        assert await client.status() == status
        assert port.refused == ({"head_too_large": 1} if extra else {})


async def test_one_connection_too_many_takes_the_place_of_the_one_that_has_waited_longest() -> None:
    async with served(HttpBounds(connections_count_max=3)) as port:
        answered = await port.connect(GET)
        assert await answered.status() == 200
        first, second = await port.connect(), await port.connect(GET[:-2])
        answered.writer.write(GET)  # from here on the one that was heard last
        assert await answered.status() == 200
        assert (port.open_count, port.refused) == (3, {})
        newcomer = await port.connect(GET)
        assert await newcomer.status() == 200
        assert await first.status() == 503
        assert await first.is_closed()
        second.writer.write(b"\r\n")
        assert await second.status() == 200
        assert (port.open_count, port.refused) == (3, {"too_many_connections": 1})


async def test_what_is_not_http_is_counted_and_dropped() -> None:
    async with served() as port:
        client = await port.connect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 8)
        assert await client.status() == 400
        assert port.refused == {"bad_request": 1}


async def test_an_answer_that_nobody_takes_is_dropped() -> None:
    async with served() as port:
        for number in range(8):
            await port.shell.worker(
                name=f"w{number}", commands=[f"{number}-{'x' * 100}-{n}" for n in range(500)]
            )
        client = await port.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):  # more than the operating system takes for it
            client.writer.write(GET.replace(b"healthz", b"api/workers"))
        async with asyncio.timeout(PATIENCE_S):
            while not port.refused or port.open_count:
                await asyncio.sleep(0.01)
        assert port.refused == {"too_slow": 1}
