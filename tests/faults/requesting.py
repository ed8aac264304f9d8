"""A requester as a program of its own, with the SDK: `requesting.py URL COMMAND DATA IN_FLIGHT TIMEOUT_S`.

It keeps IN_FLIGHT calls of COMMAND in flight (DATA is JSON; every second one is idempotent) until SIGTERM, then waits
for the last of them. Prints `sent ID` for each call, `ended ID CODE DELIVERY SECONDS` for its end, and at last
`done COUNT`. `read_calls` reads that.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from taskferry.requester import Requester, Response

from tests.faults.ledger import count_runs
from tests.processes import Program

PATH: Final = __file__
_ENDED: Final = re.compile(r"^ended (\S+) (\S+) (\S+) (\S+)$", re.MULTILINE)


class Call(NamedTuple):
    """The end of one call. `delivery` is `-` if the response had none."""

    code: str
    delivery: str
    duration_s: float


def read_calls(program: Program) -> dict[str, Call]:
    """The calls of a requester that have ended so far, by request_id. Raises AssertionError if one has ended twice."""
    found = _ENDED.findall(program.stdout)
    calls = {
        request_id: Call(code, delivery, float(duration)) for request_id, code, delivery, duration in found
    }
    assert len(calls) == len(found), "a call has ended twice"
    return calls


def assert_calls_balance(program: Program, workers: Sequence[Program] = ()) -> dict[str, Call]:
    """The calls of a requester that has ended: each that it sent has ended once, and none has run more often than it
    may, by what `workers` (of tasks.py) have printed."""
    calls = read_calls(program)
    ids = re.findall(r"^sent (\S+)$", program.stdout, re.MULTILINE)
    assert sorted(calls) == sorted(ids), f"{len(ids)} sent, {len(calls)} ended"
    assert re.search(rf"^done {len(ids)}$", program.stdout, re.MULTILINE), program.stderr[-4000:]
    runs = count_runs(workers)
    for request_id, call in calls.items():
        count = runs[request_id]
        assert is_idempotent(request_id) or count <= 1, f"{request_id} ran {count} times"
        assert count == 0 or call.delivery != "not_delivered", f"{request_id} ran, and ended with {call}"
        assert count > 0 or call.code != "success", f"{request_id} succeeded without having run"
    return calls


def is_idempotent(request_id: str) -> bool:
    """Whether this call of a requester was idempotent."""
    _, number, count = request_id.split("-")
    return (int(number) + int(count)) % 2 == 0


def _say(*words: object) -> None:
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


async def _keep_calling(
    send: Callable[..., Awaitable[Response]], number: int, stopping: asyncio.Event
) -> int:
    count = 0
    while not stopping.is_set():
        count += 1
        request_id = f"{os.getpid()}-{number}-{count}"
        _say("sent", request_id)
        began_at = time.monotonic()
        response = await send(idempotent=is_idempotent(request_id), request_id=request_id)
        code = "success" if response.success else response.code
        _say("ended", request_id, code, response.delivery or "-", round(time.monotonic() - began_at, 3))
        if code in {"cannot_connect", "no_available_workers"}:
            await asyncio.sleep(0.05)  # as any client does that has nothing better to do
    return count


async def _main(url: str, command: str, data: Any, in_flight_count: int, timeout_s: float) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Requester(url) as requester:
        send = partial(requester.request, command, data, timeout=timeout_s)
        callers = (_keep_calling(send, number, stopping) for number in range(in_flight_count))
        counts = await asyncio.gather(*callers)
    _say("done", sum(counts))


if __name__ == "__main__":
    asyncio.run(
        _main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    )
