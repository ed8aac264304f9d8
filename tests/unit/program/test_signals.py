"""Signals within the block and after it. They are raised in this process."""

import asyncio
import signal
import threading

import pytest
from taskferry.program.hangup import SIGHUP
from taskferry.program.interrupts import handlers_restored
from taskferry.program.signals import STOPPING, signals_handled


def reload_nothing() -> None:
    raise AssertionError("no SIGHUP has come")


@pytest.mark.parametrize("number", STOPPING)
async def test_each_signal_to_stop_is_passed_on(number: signal.Signals) -> None:
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    with handlers_restored(), signals_handled(received.put_nowait, reload_nothing):
        for _ in range(2):
            signal.raise_signal(number)
            assert await asyncio.wait_for(received.get(), 5) == number


@pytest.mark.skipif(SIGHUP is None, reason="this system has no SIGHUP")
async def test_a_hangup_asks_to_reload() -> None:
    reloaded = asyncio.Event()
    with handlers_restored(), signals_handled(lambda _: pytest.fail("it is not to stop"), reloaded.set):
        assert SIGHUP is not None
        signal.raise_signal(SIGHUP)
        await asyncio.wait_for(reloaded.wait(), 5)


async def test_a_signal_after_the_block_changes_nothing_until_the_handlers_before_it_are_restored() -> None:
    numbers = [*STOPPING, *([SIGHUP] if SIGHUP is not None else [])]
    before = [signal.getsignal(number) for number in numbers]
    with handlers_restored():
        with signals_handled(lambda number: pytest.fail(f"{number} came too late"), reload_nothing):
            pass
        for number in numbers:
            signal.raise_signal(number)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_thread_that_cannot_handle_signals_runs_the_block_all_the_same() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    ran = []

    async def block() -> None:
        with signals_handled(lambda _: None, reload_nothing):
            ran.append([signal.getsignal(number) for number in STOPPING])

    thread = threading.Thread(target=asyncio.run, args=(block(),))
    thread.start()
    thread.join(10)
    assert ran == [before]
