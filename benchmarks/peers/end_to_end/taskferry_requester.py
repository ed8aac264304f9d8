"""A Taskferry user's requester: `Requester.call` from coroutines, in JSON or MessagePack (the first argument).

All defaults except the event loop, which is uvloop, as for every other asyncio client here.
"""

import sys

from taskferry.requester import Requester

from .closed_loop import DATA, measure
from .program import broker_address, plan, report, run


async def main(encoding: str) -> None:
    """Measures and reports."""
    async with Requester(f"ws://{broker_address()}", encoding=encoding) as requester:
        report(await measure(lambda: requester.call("echo", DATA), plan()))


if __name__ == "__main__":
    run(main(sys.argv[1]))
