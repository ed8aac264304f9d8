"""How many workers a count of the wire means, in a set of so many."""

from math import ceil

from ...protocol.gather_messages import Count


def count_of(wish: Count, workers_count: int) -> int:
    """Of so many workers, these: all of them, a number, or a share, rounded up."""
    if isinstance(wish, str):
        return workers_count
    return wish if isinstance(wish, int) else ceil(wish * workers_count)
