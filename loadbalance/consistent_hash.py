"""Consistent hash: requests of the same affinity go to the same worker while that is not overloaded.

Source: Karger et al. for the ring (see `Ring`); Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded
Loads" (2016), for the bound: no worker gets more than c times the average load, and a key whose worker is at the bound
goes to the next one along the ring. HAProxy's `hash-balance-factor` is the same. Loads are shared by weight. A request
without affinity, or with an empty one, goes to the least loaded worker; so does one that finds no place within a few
steps.

A full worker leaves and comes back all the time, so its points stay on the ring meanwhile. They are removed once it has
been away for long, which keeps walks short. Points depend on the worker_id alone: a worker that comes back after a
restart, its own or the broker's, gets its keys back.
"""

from collections import OrderedDict
from typing import Final, Generic

from .least_loaded import LeastLoaded
from .ring import Ring
from .strategy import C
from .weight import units_of

BOUND_ABOVE: Final = 5
BOUND_BELOW: Final = 4
"""c of the paper as a fraction, 1.25: the balance factor that HAProxy's manual suggests, and Vimeo runs."""

STEPS_COUNT_MAX: Final = 16
"""Points visited per pick. If half of them are full or away, one walk in 60,000 finds none."""

AWAY_PICKS_COUNT_MIN: Final = 1_000
AWAY_PICKS_COUNT_PER_PLACE: Final = 8
"""A worker that is away for this many picks is taken off the ring: eight times as long as a worker is full if all take
equally long."""

AWAY_COUNT_MAX: Final = 10_000
"""Workers that are away but still on the ring, however few picks are made; the longest away is removed first."""


class Place(Generic[C]):
    """A worker's entry on the ring, kept while the worker is away."""

    __slots__ = ("candidate", "gone_at", "in_flight_count", "units", "weight")

    def __init__(self) -> None:
        self.candidate: C | None = None
        self.gone_at = 0
        """While it is away: the number of the pick after which it counts as gone."""
        self.in_flight_count = 0
        self.weight = 0.0
        self.units = 0


class ConsistentHash(Generic[C]):
    """A pick visits at most STEPS_COUNT_MAX points; the other calls cost as in LeastLoaded, except for a candidate that
    is new or has been away for long, whose points are put on the ring: O(points)."""

    __slots__ = (
        "_away",
        "_in_flight_count",
        "_least_loaded",
        "_look_at",
        "_picks_count",
        "_places",
        "_ring",
        "_units_sum",
    )

    def __init__(self) -> None:
        self._least_loaded: LeastLoaded[C] = LeastLoaded()
        self._ring: Ring[Place[C]] = Ring()
        self._places: dict[str, Place[C]] = {}
        self._away: OrderedDict[str, Place[C]] = OrderedDict()
        """The places whose workers are away, by worker_id, the longest away first."""
        self._in_flight_count = 0
        self._units_sum = 0
        self._picks_count = 0
        self._look_at = 0
        """The number of the pick at which a worker may count as gone."""

    def add(self, candidate: C) -> None:
        self._least_loaded.add(candidate)
        worker_id = candidate.worker_id
        place = self._places.get(worker_id)
        if place is None:
            place = self._places[worker_id] = Place()
            self._ring.add(worker_id, place)
        else:
            del self._away[worker_id]
        place.candidate = candidate
        place.in_flight_count = candidate.in_flight_count
        weight = candidate.weight
        if weight != place.weight:
            place.weight = weight
            place.units = units_of(weight)
        self._in_flight_count += place.in_flight_count
        self._units_sum += place.units

    def remove(self, candidate: C) -> None:
        self._least_loaded.remove(candidate)
        worker_id = candidate.worker_id
        place = self._places[worker_id]
        place.candidate = None
        self._in_flight_count -= place.in_flight_count
        self._units_sum -= place.units
        patience = AWAY_PICKS_COUNT_MIN + AWAY_PICKS_COUNT_PER_PLACE * len(self._places)
        place.gone_at = self._picks_count + patience
        self._away[worker_id] = place
        if len(self._away) > AWAY_COUNT_MAX:
            self._forget_the_longest_away()

    def changed(self, candidate: C) -> None:
        self._least_loaded.changed(candidate)
        place = self._places[candidate.worker_id]
        count = candidate.in_flight_count
        self._in_flight_count += count - place.in_flight_count
        place.in_flight_count = count
        weight = candidate.weight
        if weight != place.weight:
            self._units_sum -= place.units
            place.weight = weight
            place.units = units_of(weight)
            self._units_sum += place.units

    def pick(self, affinity: str | None) -> C | None:
        self._picks_count += 1
        if self._picks_count >= self._look_at:
            self._look_for_the_gone()
        if not affinity or not self._units_sum:
            return self._least_loaded.pick(None)
        # in flight < 1.25 x (all in flight + 1) x weight / all weights, in whole numbers. With the assignment about to
        # be made it may reach the bound, rounded up.
        bound = BOUND_ABOVE * (self._in_flight_count + 1)
        share = BOUND_BELOW * self._units_sum
        point = self._ring.owner(affinity)
        for _ in range(STEPS_COUNT_MAX):
            place = point.member
            if place.candidate is not None and place.in_flight_count * share < bound * place.units:
                return place.candidate
            point = point.after
        return self._least_loaded.pick(None)

    def _look_for_the_gone(self) -> None:
        """Remove the worker that is away longest if it counts as gone, and set when to check again."""
        longest_away = next(iter(self._away.values()), None)
        if longest_away is None:
            self._look_at = self._picks_count + AWAY_PICKS_COUNT_MIN
        elif longest_away.gone_at > self._picks_count:
            self._look_at = longest_away.gone_at
        else:
            self._forget_the_longest_away()

    def _forget_the_longest_away(self) -> None:
        worker_id, _ = self._away.popitem(last=False)
        del self._places[worker_id]
        self._ring.remove(worker_id)
