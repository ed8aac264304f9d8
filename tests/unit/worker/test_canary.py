"""The canary: declared in `connect`, run like any other assignment, and refused before it can mislead a broker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from taskferry.worker import Context, Worker

from tests.unit.worker.fake_broker import Connection, FakeBroker


async def call_canary(connection: Connection) -> Mapping[str, Any]:
    """As the broker does; returns how it ended."""
    call = {
        "action": connection.hello["data"]["canary"],
        "params": {},
        "timeout": 5.0,
        "request_id": "canary",
    }
    connection.send({"type": "request", "msg_id": "c1", "timestamp": 0.0, "data": call})
    return await connection.response_to("c1")


def handler(kind: str) -> Callable[..., Any]:
    """One that needs no data, of each kind."""

    async def nothing() -> str:
        return "fine"

    async def defaults(depth: int = 1, *, context: Context) -> str:
        return f"{context.request_id} at depth {depth}"

    async def whole(data: dict[str, int]) -> dict[str, int]:
        return data

    async def rest(**data: int) -> int:
        return len(data)

    def thread() -> str:
        return "fine, in a thread"

    handlers: dict[str, Callable[..., Any]] = {
        "nothing": nothing,
        "defaults": defaults,
        "whole": whole,
        "rest": rest,
        "thread": thread,
    }
    return handlers[kind]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("nothing", "fine"),
        ("defaults", "canary at depth 1"),
        ("whole", {}),
        ("rest", 0),
        ("thread", "fine, in a thread"),
    ],
)
async def test_a_command_that_needs_no_data_may_be_the_canary(
    kind: str, result: object, broker: FakeBroker
) -> None:
    worker = Worker(canary="health")
    worker.command("health")(handler(kind))
    async with broker.serve(worker) as connection:
        assert connection.hello["data"]["canary"] == "health"
        assert await call_canary(connection) == {"success": True, "result": result}


async def test_a_canary_that_fails_says_so(broker: FakeBroker) -> None:
    worker = Worker(canary="health")

    @worker.command()
    async def health() -> None:
        raise ConnectionError("no database")

    async with broker.serve(worker) as connection:
        response = await call_canary(connection)
    assert (response["success"], response["error"]) == (False, "ConnectionError: no database")


async def test_without_one_there_is_none(broker: FakeBroker) -> None:
    worker = Worker()
    worker.command("health")(handler("nothing"))
    async with broker.serve(worker) as connection:
        assert connection.hello["data"]["canary"] is None


@dataclass
class Fussy:
    number: int = 0

    def __post_init__(self) -> None:
        raise LookupError("not found")


async def needs_a_message(message: str) -> None: ...


async def needs_a_list(data: list[int]) -> None: ...


async def is_fussy(data: Fussy) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (needs_a_message, "message: missing parameter"),
        (needs_a_list, "data: Expected `array`, got `object`"),
        (is_fussy, "LookupError: not found"),
    ],
)
async def test_a_command_that_needs_data_is_refused_before_it_serves(
    function: Callable[..., Any], why: str, broker: FakeBroker
) -> None:
    worker = Worker(canary="health")
    worker.command("health")(function)
    with pytest.raises(ValueError, match="cannot be called without data") as caught:
        await worker.serve(broker.url)
    assert str(caught.value) == f"canary: 'health' cannot be called without data: {why}"
    assert broker.connection_count == 0


@pytest.mark.parametrize(("count", "known"), [(1, "c0"), (11, "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, ...")])
async def test_what_is_no_command_of_the_worker_is_refused_before_it_serves(
    count: int, known: str, broker: FakeBroker
) -> None:
    worker = Worker(canary="health")
    for number in range(count):
        worker.command(f"c{number}")(handler("nothing"))
    with pytest.raises(ValueError, match="is not one of the worker's commands") as caught:
        await worker.serve(broker.url)
    assert str(caught.value) == f"canary: 'health' is not one of the worker's commands: {known}"
    assert broker.connection_count == 0
