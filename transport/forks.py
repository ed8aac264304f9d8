"""What a forked child of a program must not hold: the program's connections.

A child that outlives its parent would keep them open, and the peer would not see that the parent is gone. In a child
their descriptors lead to the null device: they keep their numbers, so that nothing else is closed by mistake when the
child drops the objects that own them.
"""

import os
from typing import Final

_kept: Final[set[int]] = set()


def keep_from_forks(descriptor: int) -> None:
    """Children that are forked from here on do not hold `descriptor`, until `open_to_forks`."""
    if descriptor >= 0:
        _kept.add(descriptor)


def open_to_forks(descriptor: int) -> None:
    """It is about to be closed."""
    _kept.discard(descriptor)


def _after_in_child() -> None:
    if not _kept:
        return
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in _kept:
        os.dup2(null, descriptor, inheritable=False)
    os.close(null)
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
