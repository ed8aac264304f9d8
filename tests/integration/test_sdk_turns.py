"""What a round trip costs the event loops of both SDKs, counted in turns: the unit in which they wait for the system.

Turns are counted rather than microseconds, which on a busy machine say nothing.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

from taskferry.requester import Requester
from taskferry.worker import Worker

from tests.processes import PATIENCE_S, Broker, wait_until

CALLS_COUNT = 200
TURNS_PER_CALL_MAX = 2.5
"""One turn that reads, and one in which the caller or the handler runs and what it sends is written. Another turn for
the writing would make it three; the rest is for timers."""


class CountingSelector(selectors.DefaultSelector):
    """Counts the turns of the event loop that waits on it."""

    turns_count = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns_count += 1
        events: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return events


def run(main: Coroutine[object, object, None], selector: CountingSelector) -> None:
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(main)


@contextmanager
def serving(worker: Worker, url: str, selector: CountingSelector) -> Iterator[None]:
    """The worker serves in an event loop in its own thread."""
    drain: list[Callable[[], object]] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        drain.append(lambda: loop.call_soon_threadsafe(worker.drain))
        await worker.serve(url)

    thread = threading.Thread(target=run, args=(serve(), selector))
    thread.start()
    wait_until(lambda: drain, "the worker's event loop runs")
    try:
        yield
    finally:
        drain[0]()
        thread.join(PATIENCE_S)


def test_what_callers_and_handlers_send_leaves_in_the_turn_they_run_in(broker: Broker) -> None:
    worker = Worker()

    @worker.command("turns_same")
    async def same(value: int) -> int:
        return value

    at_worker, at_requester = CountingSelector(), CountingSelector()
    turns: list[float] = []

    async def call() -> None:
        async with Requester(broker.requester_url) as requester:
            await requester.call("turns_same", {"value": 0})
            before = (at_requester.turns_count, at_worker.turns_count)
            for number in range(CALLS_COUNT):
                assert await requester.call("turns_same", {"value": number}) == number
            after = (at_requester.turns_count, at_worker.turns_count)
            turns.extend((late - early) / CALLS_COUNT for early, late in zip(before, after, strict=True))

    with serving(worker, broker.worker_url, at_worker):
        wait_until(broker.workers, "the worker is connected")
        run(call(), at_requester)
    assert turns[0] < TURNS_PER_CALL_MAX
    assert turns[1] < TURNS_PER_CALL_MAX
