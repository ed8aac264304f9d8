"""A coroutine that SIGINT cancels. The signals are raised in this process."""

import asyncio
import signal
import threading

import pytest
from taskferry.program.interruptible import run_interruptible


async def interrupted(cleaned_up: list[str]) -> str:
    signal.raise_signal(signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        cleaned_up.append("yes")
    return "not cancelled"


def test_sigint_cancels_it_and_is_raised_once_it_has_ended() -> None:
    before = signal.getsignal(signal.SIGINT)
    cleaned_up: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(lambda: interrupted(cleaned_up))
    assert cleaned_up == ["yes"]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_result_that_is_there_all_the_same_is_returned() -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"
        return "not cancelled"

    assert run_interruptible(main) == "done"


def test_a_cancellation_that_is_no_interrupt_stays_one() -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_interruptible(main)


def test_a_sigint_that_is_ignored_changes_nothing() -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        return "done"

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_interruptible(main) == "done"
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_runs_in_a_thread_which_no_signal_reaches() -> None:
    async def main() -> str:
        return "done"

    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(run_interruptible(main)))
    thread.start()
    thread.join(10)
    assert results == ["done"]
