"""The commands of a worker that was given no module, as a requester sees them."""

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from taskferry.worker import Worker
from taskferry.worker import system_info as system_info_module
from taskferry.worker.builtin import register

from tests.unit.worker.fake_broker import Connection, FakeBroker


@pytest.fixture(params=["json", "msgpack"])
async def connection(broker: FakeBroker, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    worker = Worker(encoding=request.param)
    register(worker)
    async with broker.serve(worker) as connection:
        yield connection


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Hello World", "Echo: Hello World"),
        ("", "Echo: "),
        ({"a": [1, None]}, 'Echo: {"a":[1,null]}'),
        (7, "Echo: 7"),
    ],
)
async def test_echo(message: object, expected: str, connection: Connection) -> None:
    assert await connection.result("echo", {"message": message}) == expected


async def test_echo_needs_a_message(connection: Connection) -> None:
    assert await connection.failure("echo") == ("bad_request", "message: missing parameter")
    assert (await connection.failure("echo", {"message": "a", "loud": True}))[0] == "bad_request"


async def test_get_time_is_local_time(connection: Connection) -> None:
    text = await connection.result("get_time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)
    assert abs(datetime.now() - datetime.strptime(text, "%Y-%m-%d %H:%M:%S")) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        ({"a": 1, "b": 0, "op": "/"}, "division_by_zero", "division by zero: 1 / 0"),
        ({"a": 1, "b": 0, "op": "x"}, "bad_request", "op: 'x' is unknown; one of + - * / // % **"),
        ({"a": "1", "b": 0, "op": "+"}, "bad_request", "a: Expected `int | float`, got `str`"),
        ({"a": True, "b": 0, "op": "+"}, "bad_request", "a: Expected `int | float`, got `bool`"),
        ({"a": 1, "op": "+"}, "bad_request", "b: missing parameter"),
        ({"a": 1, "b": 2}, "bad_request", "op: missing parameter"),
        ({"a": 1, "b": 2, "op": 3}, "bad_request", "op: Expected `str`, got `int`"),
        ([1, 2, "+"], "bad_request", "data: Expected `object`, got `array`; the command takes a, b, op"),
    ],
)
async def test_calculate_refuses(data: object, code: str, text: str, connection: Connection) -> None:
    assert await connection.failure("calculate", data) == (code, text)


async def test_calculate(connection: Connection) -> None:
    assert await connection.result("calculate", {"a": 6, "b": 7, "op": "*"}) == 42
    assert await connection.result("calculate", {"a": 1.5, "b": 3, "op": "-"}) == -1.5


async def test_calculate_with_large_integers(broker: FakeBroker) -> None:
    data = {"a": 2, "b": 100, "op": "**"}
    worker = Worker(encoding="json")
    register(worker)
    async with broker.serve(worker) as connection:
        result = await connection.result("calculate", data)
        assert (type(result), result) == (int, 2**100)
    worker = Worker(encoding="msgpack")
    register(worker)
    async with broker.serve(worker) as connection:
        assert (await connection.failure("calculate", data))[0] == "not_representable"


async def test_get_system_info(connection: Connection) -> None:
    info = await connection.result("get_system_info")
    assert set(info) == {
        "hostname",
        "platform",
        "python_version",
        "cpu_count",
        "load_average",
        "memory_total_bytes",
        "memory_available_bytes",
        "pid",
        "uptime_s",
    }
    assert info["uptime_s"] >= 0
    assert info["memory_total_bytes"] is None or info["memory_total_bytes"] > 2**20


def test_memory_is_reported_if_the_platform_provides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(system_info_module, "_MEMINFO", tmp_path)  # a directory: no Linux
    info = system_info_module.system_info()
    assert info["memory_available_bytes"] is None
    assert info["memory_total_bytes"] > 2**20
    monkeypatch.delattr("os.sysconf")
    monkeypatch.delattr("os.getloadavg")
    info = system_info_module.system_info()
    assert info["memory_total_bytes"] is None
    assert info["load_average"] is None
