"""What a worker offers when it joins: which commands it serves, and how many assignments at once."""

from collections.abc import Sequence
from typing import NamedTuple

from ...protocol.limits import CONCURRENCY_DEFAULT, WEIGHT_DEFAULT


class PlacesOffer(NamedTuple):
    """So many places, for these of the worker's commands; see places.py."""

    commands: frozenset[str]
    count_max: int


class Offer:
    """A worker's offer; never changed.

    `concurrency` is its number of slots, `weight` its share of the load relative to other workers; targets select by
    `labels`. `instance` is a token of the running program: the same token under the same name is the same worker.
    `canary` names one of `commands`, which the broker may run as a health check. Some of them may need
    `places`, too. `sdk` is informational.
    """

    __slots__ = ("canary", "commands", "concurrency", "instance", "labels", "places", "sdk", "weight")

    def __init__(
        self,
        commands: Sequence[str],
        *,
        concurrency: int = CONCURRENCY_DEFAULT,
        weight: float = WEIGHT_DEFAULT,
        labels: dict[str, str] | None = None,
        instance: str | None = None,
        canary: str | None = None,
        places: PlacesOffer | None = None,
        sdk: str | None = None,
    ) -> None:
        self.commands = commands
        self.concurrency = concurrency
        self.weight = weight
        self.labels = labels or {}
        self.instance = instance
        self.canary = canary
        self.places = places
        self.sdk = sdk
