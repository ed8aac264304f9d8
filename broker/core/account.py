"""Whose requests these are: what all connections of one identity, or of one stranger's address, use together."""

from typing import TYPE_CHECKING, Final

from .queue.holdings import Holder, Holders

if TYPE_CHECKING:
    from .requester import Requester

from .health.fares import Fares

NO_BOUND: Final = 2**61
"""In place of a bound that is not wanted: more than there can be of anything. From 2**62 on, a compiled integer is an
object, and comparing it takes a call."""


class Account:
    """What its connections have in the broker, and how much that may be.

    `name`: for people. `in_flight_count` requests are admitted and have not ended, at most `in_flight_count_max`;
    `waiting_size_bytes` of data wait for a free slot, at most `waiting_size_bytes_max`. A lowered bound admits nothing
    more until there is room again. `fares`: how it has fared at which worker. `holder` says how much of it waits beside
    other accounts, and `requesters` which of its connections have most of that; attempts of jobs are not among them.
    """

    __slots__ = (
        "fares",
        "holder",
        "in_flight_count",
        "in_flight_count_max",
        "name",
        "requesters",
        "waiting_size_bytes",
        "waiting_size_bytes_max",
    )

    def __init__(self, name: str, in_flight_count_max: int, waiting_size_bytes_max: int) -> None:
        self.name = name
        self.fares = Fares()
        self.in_flight_count = 0
        self.in_flight_count_max = in_flight_count_max
        self.waiting_size_bytes = 0
        self.waiting_size_bytes_max = waiting_size_bytes_max
        self.holder: Holder[Account] = Holder(self)
        self.requesters: Holders[Requester] = Holders()


def unlimited(name: str) -> Account:
    """An account without bounds of its own."""
    return Account(name, NO_BOUND, NO_BOUND)
