"""Long streams through a real broker, from a real worker, and the memory that they cost it."""

from typing import Final

from taskferry.requester import Requester

from tests.processes import Broker, Programs, wait_until

CHUNK_SIZE_BYTES: Final = 64 * 1024
FILL_BYTES: Final = 16 * 1024 * 1024
GROWTH_BYTES_MAX: Final = 16 * 1024 * 1024
"""What the broker may grow by: a few windows, and what its allocator keeps."""

SOURCE = """
from taskferry.worker import Worker

worker = Worker(concurrency=8)

@worker.command()
async def source(count: int, size: int, is_text: bool):
    chunk = "x" * size if is_text else b"x" * size
    for _ in range(count):
        yield chunk
"""


def start_source(programs: Programs, broker: Broker, encoding: str, *options: str) -> None:
    """A worker of `source`, which sends as many chunks as it is asked for."""
    (programs.folder / "source_tasks.py").write_text(SOURCE)
    programs.start(
        "-m", "taskferry.worker", "source_tasks:worker", "--broker", broker.worker_url,
        "--encoding", encoding, *options,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(broker.workers, "the worker")


async def fill(requester: Requester, broker: Broker, size_bytes: int) -> int:
    """Take a stream of so many bytes, and check that none is missing. Returns the most memory that the broker had
    meanwhile."""
    count = size_bytes // CHUNK_SIZE_BYTES
    is_text = "json" in repr(requester._arguments.encoding).lower()
    most = 0
    taken = 0
    data = {"count": count, "size": CHUNK_SIZE_BYTES, "is_text": is_text}
    async for chunk in requester.stream("source", data, timeout=600):
        assert len(chunk) == CHUNK_SIZE_BYTES
        taken += 1
        if taken % 64 == 0:
            most = max(most, broker.rss_bytes())
    assert taken == count
    return most
