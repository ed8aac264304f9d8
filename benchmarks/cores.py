"""Which core runs the broker and which the load, and the pinning of processes to them.

Without processor affinity (macOS, Windows), or with just one core, nothing is pinned.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the broker and that of the load generator; None if nothing is pinned."""

    broker: int | None
    load: int | None


def split_cores() -> Cores:
    """The last core this process may use for the broker; the first, where interrupts tend to be handled, for the
    load."""
    if sys.platform != "linux":
        return Cores(None, None)
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return Cores(None, None)
    return Cores(broker=usable[-1], load=usable[0])


@contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """Within it this process, and permanently every process and thread that it starts, runs on `core` only.

    A child inherits its parent's affinity, so it is pinned before its first instruction: a Go program counts the cores
    it may use once, when it starts.
    """
    if sys.platform != "linux" or core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
