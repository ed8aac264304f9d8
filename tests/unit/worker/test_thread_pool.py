"""Threads are started as they are needed, reused, bounded, and never keep the program from exiting."""

import threading
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
from taskferry.worker.thread_pool import ThreadPool


def test_threads_are_bounded_and_used_again() -> None:
    pool = ThreadPool(2)
    may_end = threading.Event()
    names: list[str] = []
    done = threading.Semaphore(0)

    def job() -> None:
        may_end.wait(10)
        names.append(threading.current_thread().name)
        done.release()

    for _ in range(5):
        pool.submit(job)
    assert not done.acquire(timeout=0.02)
    may_end.set()
    for _ in range(5):
        assert done.acquire(timeout=10)
    assert len(set(names)) <= 2
    pool.close()


def test_a_free_thread_is_used_before_another_is_started() -> None:
    pool = ThreadPool(8)
    threads: set[threading.Thread] = set()
    for _ in range(5):
        done = threading.Event()

        def job(done: threading.Event = done) -> None:
            threads.add(threading.current_thread())
            done.set()

        pool.submit(job)
        assert done.wait(10)
        while not pool._idle._value:  # until the thread waits again
            time.sleep(0.001)
    assert len(threads) == 1
    pool.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
        assert thread.daemon


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether the system starts threads can be set."""
    start = threading.Thread.start

    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    def starts_threads(does: bool) -> None:
        monkeypatch.setattr(threading.Thread, "start", start if does else refuse)

    return starts_threads


def test_a_thread_that_cannot_be_started_is_not_counted(system: Callable[[bool], None]) -> None:
    pool = ThreadPool(1)
    ran: list[str] = []
    done = threading.Event()
    system(False)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="new thread"):
            pool.submit(lambda: ran.append("refused"))
    system(True)

    def job() -> None:
        ran.append("taken")
        done.set()

    pool.submit(job)
    assert done.wait(10)
    assert ran == ["taken"]
    pool.close()


def test_without_a_further_thread_a_job_waits_for_those_that_there_are(
    system: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPool(3)
    started, done = threading.Semaphore(0), threading.Semaphore(0)
    may_end = threading.Event()

    def job() -> None:
        started.release()
        may_end.wait(10)
        done.release()

    pool.submit(job)
    system(False)
    for _ in range(2):
        pool.submit(job)
    assert "could not start another thread for handlers (can't start new thread); 1 go on" in caplog.text
    assert started.acquire(timeout=10)
    assert not started.acquire(timeout=0.02)
    may_end.set()
    for _ in range(3):
        assert done.acquire(timeout=10)
    # As many as ever run at once afterwards: the two that waited do not count as free threads.
    system(True)
    may_end.clear()
    for _ in range(2):
        assert started.acquire(timeout=10)
    for _ in range(3):
        pool.submit(job)
    for _ in range(3):
        assert started.acquire(timeout=10)
    may_end.set()
    for _ in range(3):
        assert done.acquire(timeout=10)
    pool.close()
