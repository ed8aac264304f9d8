"""Many calls with a window: so many at most have been begun whose result has not been taken yet.

So neither what is sent nor what has come back can fill the memory, however many items there are and however slow
whoever takes the results is.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from ..protocol.limits import IN_FLIGHT_COUNT_MAX

Item = TypeVar("Item")
Result = TypeVar("Result")


def check_concurrency(concurrency: int) -> None:
    """Raise ValueError if it is no size of a window."""
    if not 1 <= concurrency <= IN_FLIGHT_COUNT_MAX:
        raise ValueError(f"concurrency: {concurrency} is not from 1 to {IN_FLIGHT_COUNT_MAX}")


async def results_of(
    call: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    concurrency: int,
    in_order: bool,
) -> AsyncGenerator[Result]:
    """The result of `call` for each item: in their order, or as they come. Raises what a call or `items` does; then,
    or if it is closed early, the calls that run are cancelled."""
    room = asyncio.Semaphore(concurrency)
    ended: asyncio.Queue[asyncio.Future[Result] | None] = asyncio.Queue()
    running: set[asyncio.Future[Result]] = set()

    async def feed() -> None:
        await room.acquire()
        async for item in _each(items):
            task = asyncio.ensure_future(call(item))
            running.add(task)
            if in_order:
                ended.put_nowait(task)
            else:
                task.add_done_callback(ended.put_nowait)
            await room.acquire()
        if not in_order and running:
            await asyncio.wait(running)

    feeding = asyncio.create_task(feed())
    feeding.add_done_callback(lambda _: ended.put_nowait(None))
    try:
        while (task := await ended.get()) is not None:
            result = await task
            running.discard(task)
            yield result
            room.release()
        await feeding
    finally:
        left: list[asyncio.Future[Any]] = [feeding, *running]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
