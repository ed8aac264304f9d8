"""`tail -f` over many machines. On each of them:

    python tail_everywhere.py serve ws://broker:8765 /var/log/syslog

and anywhere, to read what all of them write, also those that start later:

    python tail_everywhere.py ws://broker:8766
"""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

from taskferry.requester import GatheredItem, NoAvailableWorkers, Requester
from taskferry.worker import Worker

WAIT_S = 1.0
"""How long a machine waits for another line before it says that there is none."""

SIZE_BYTES_MAX = 16_384
"""What one machine sends in one round."""


def serve(url: str, path: Path) -> None:
    name = f"{socket.gethostname()}-{os.getpid()}"
    worker = Worker(name=name, concurrency=10)

    @worker.command("tail")
    def tail(since: dict[str, int]) -> dict[str, int | str]:
        """What was written since then; at first, nothing but where the file ends."""
        size = path.stat().st_size
        start = min(since.get(name, size), size)  # a file that was cut begins again
        waited_s = 0.0
        while path.stat().st_size == start and waited_s < WAIT_S and name in since:
            time.sleep(0.1)
            waited_s += 0.1
        with path.open("rb") as file:
            file.seek(start)
            lines, newline, _ = file.read(SIZE_BYTES_MAX).rpartition(b"\n")
        return {"text": lines.decode(errors="replace"), "end": start + len(lines + newline)}

    worker.run(url)


async def follow(url: str) -> None:
    since: dict[str, int] = {}

    def show(item: GatheredItem) -> None:
        if not item.success:
            print(f"{item.worker_id}: {item.error}", file=sys.stderr)
            return
        since[item.worker_id] = item.data["end"]
        for line in item.data["text"].splitlines():
            print(f"{item.worker_id}: {line}", flush=True)

    async with Requester(url) as requester:
        while True:  # each round has the machines that there are then
            try:
                await requester.gather("tail", {"since": since}, timeout=10, on_item=show)
            except NoAvailableWorkers:
                await asyncio.sleep(WAIT_S)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], Path(sys.argv[3]))
    else:
        asyncio.run(follow(sys.argv[1]))
