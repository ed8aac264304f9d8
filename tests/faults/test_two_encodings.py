"""Large values between encodings: each takes the broker milliseconds, during which nobody else is served."""

import gc
import json
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.integration.peers import Peer, connected
from tests.processes import Programs

REQUESTS_COUNT = 5
VALUES = {"empty lists": [[]] * 300_000, "objects": [{"a": 0}] * 110_000, "nothings": [None] * 190_000}
"""In JSON a megabyte each, the most that is carried by default, or a little less."""
CPU_S_MAX = 0.05
"""Of the broker, for one of them there and back: reading, carrying both ways and writing. It was up to 0.11, and is
below 0.02."""


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """In this process, where it would take seconds to look for garbage among a million lists."""
    gc.disable()
    yield
    gc.enable()


async def send(peer: Peer, message: Any) -> None:
    """In as few bytes as can be, or it would be over the bound."""
    is_json = peer.encoding == "json"
    await peer.send_raw(json.dumps(message, separators=(",", ":")) if is_json else msgpack.packb(message))


@pytest.mark.alone
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("encodings", [("json", "msgpack"), ("msgpack", "json")])
async def test_a_large_value_between_encodings_takes_the_broker_milliseconds(
    programs: Programs, encodings: tuple[str, str], value: object
) -> None:
    of_requester, of_worker = encodings
    broker = programs.start_broker()
    async with (
        connected(broker.worker_url, of_worker) as worker,
        connected(broker.requester_url, of_requester) as requester,
    ):
        await worker.join("w1", "echo")
        before_s = broker.cpu_s()
        for number in range(REQUESTS_COUNT):
            await send(requester, {"request_id": f"r{number}", "command": "echo", "data": value})
            assignment = await worker.receive_assignment()
            assert assignment["data"]["params"] == value
            answer = {"success": True, "result": value}
            await send(worker, {"type": "response", "msg_id": assignment["msg_id"], "data": answer})
            response = await requester.receive()
            assert response["success"], response["error"]
            assert response["data"] == value
        cost_s = (broker.cpu_s() - before_s) / REQUESTS_COUNT
    assert cost_s < CPU_S_MAX
