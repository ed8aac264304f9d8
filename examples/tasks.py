"""Your own worker. Serve it with `taskferry worker tasks:worker` from this folder, then send it requests:

taskferry request greet name=Ada
taskferry request count_words '{"text": "to be or not to be"}'
taskferry request count_primes limit=200000
taskferry request --stream develop pictures=20
taskferry request --stream count_down start=5
"""

import asyncio
import time
from collections.abc import AsyncIterator

from taskferry.worker import CommandError, Context, Worker

worker = Worker(concurrency=32)


@worker.command("greet")
async def greet(name: str, punctuation: str = "!") -> str:
    """The keys of `data` are the parameters; a missing or mistyped one gets `bad_request`."""
    return f"Hello, {name}{punctuation}"


@worker.command()
async def nap(seconds: float, *, context: Context) -> dict[str, float]:
    """A coroutine runs in the event loop. It is cancelled when the caller cancels or the deadline passes."""
    if seconds > context.remaining_s:
        raise CommandError(
            f"a nap of {seconds} s does not fit into {context.remaining_s:.1f} s", code="too_long"
        )
    await asyncio.sleep(seconds)
    return {"slept_s": seconds}


@worker.command()
def count_words(text: str, context: Context) -> dict[str, int]:
    """A plain function runs in a thread. It may block; if it runs for long, it checks whether it was cancelled."""
    counts: dict[str, int] = {}
    for word in text.split():
        context.raise_if_cancelled()
        counts[word] = counts.get(word, 0) + 1
        time.sleep(0.01)
    return counts


@worker.command(executor="process")
def count_primes(limit: int) -> int:
    """Work that keeps a core busy runs in a separate process."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * max(0, limit - 1)
    for number in range(2, int(limit**0.5) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = bytes(len(range(number * number, limit + 1, number)))
    return sum(is_prime[: limit + 1])


@worker.command()
def develop(pictures: int, context: Context) -> int:
    """Says how far it is, and sends each picture as soon as it is ready: a requester that asks for a stream gets it."""
    for number in range(pictures):
        time.sleep(0.2)
        context.send({"picture": number + 1})
        context.progress(current=number + 1, total=pictures, text=f"picture {number + 1} of {pictures}")
    return pictures


@worker.command()
async def count_down(start: int) -> AsyncIterator[int]:
    """A generator sends what it yields. A requester that asks for no stream gets a list."""
    for number in range(start, 0, -1):
        yield number
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    worker.run("ws://localhost:8765")
