"""Threads are started as they are needed, reused, bounded, and never keep the program from exiting."""

import threading
import time

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
