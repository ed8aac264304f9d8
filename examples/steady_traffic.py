"""Steady traffic for a broker whose workers serve the built-in commands, so that its graphs have something to show.

python examples/steady_traffic.py ws://localhost:8766 --rate 50

Sends until Ctrl-C or SIGTERM, or for --seconds, whatever the outcomes; at the end it prints how many there were of
each.
"""

import argparse
import asyncio
import itertools
import signal
import time
from collections import Counter
from typing import Any

from taskferry.requester import Requester

REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("echo", {"message": "Hello"}),
    ("get_time", {}),
    ("calculate", {"a": 6, "b": 7, "op": "*"}),
    ("get_system_info", {}),
)


async def main(url: str, rate: float, seconds: float | None) -> None:
    outcomes: Counter[str] = Counter()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    async def send(requester: Requester, command: str, data: dict[str, Any]) -> None:
        response = await requester.request(command, data, timeout=5)
        outcomes["success" if response.success else response.code or "?"] += 1

    async with Requester(url) as requester, asyncio.TaskGroup() as group:
        began_at = time.monotonic()
        for count, (command, data) in enumerate(itertools.cycle(REQUESTS)):
            due_at = began_at + count / rate  # counted from the start, so that delays are caught up
            if seconds is not None and due_at >= began_at + seconds:
                break
            try:
                await asyncio.wait_for(stopping.wait(), max(0, due_at - time.monotonic()))
                break
            except TimeoutError:
                group.create_task(send(requester, command, data))
    print(", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=50, help="requests per second")
    parser.add_argument("--seconds", type=float, help="stop after this many seconds")
    options = parser.parse_args()
    asyncio.run(main(options.url, options.rate, options.seconds))
