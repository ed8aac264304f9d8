"""Weighted round robin: turns in proportion to weight, spread as evenly as possible.

Source: nginx's smooth weighted round robin (2012): with weights {5, 1, 1} the turns are a a b a c a a, and not a a a a
a b c. At each pick nginx credits every peer with its weight, picks the one with the most credit and charges it the sum
of all weights; that visits every peer. Here virtual time replaces the credits, as in stride scheduling (Waldspurger and
Weihl, 1995): a turn moves its candidate's start by 1 / weight, and so the weighted average of the starts by 1 / (sum of
weights). How far a start is behind that average is its lag; nginx's credit is weight x lag.

The order of candidates of equal weight is the order of their starts, so a heap holds them. Weights between two powers
of two share a heap, a band, whose lags are all multiplied by the same rate: so only the heads of some twenty bands are
compared per pick. If the weights differ by powers of two, as 4, 2 and 1 do, the turns are exactly nginx's; others get
the same shares, spread nearly as evenly.

A candidate that is full leaves and comes back; it keeps its lag meanwhile, as a peer that is down does in nginx.
"""

from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import Final, Generic

from .strategy import C
from .weight import WEIGHT_SCALE, units_of

STRIDE: Final = 720_720 * 25 * WEIGHT_SCALE * 2**12
"""How far a turn moves the start of a candidate of one unit of weight. Starts are integers, so that their sums stay
exact for years. 720,720 is the least common multiple of 1 to 16: with that and 25 the turns of the usual weights are
exact too, and equal lags come out equal; those of any other weight are exact to one in a hundred million."""

AWAY_COUNT_MAX: Final = 10_000
"""Places kept of candidates that are away, which costs about 3 MB. Beyond it the half that left first is dropped: a
candidate that still comes back starts like a new one, which is worth a part of one turn."""

SLACK_TURNS_COUNT: Final = 2
"""How far a candidate that comes back may be ahead or behind, in turns of an average candidate, in addition to one of
its own: as far as turns spread. The others may have drifted further while it was away; it owes them nothing for
that."""

STALE_COUNT_MIN: Final = 64
"""Entries that a band may hold in addition to twice the number of places, before stale ones are removed."""


class Place(Generic[C]):
    """Where a candidate is in virtual time, kept while it is away."""

    __slots__ = (
        "band",
        "behind",
        "candidate",
        "charge",
        "entry_move",
        "entry_start",
        "move",
        "start",
        "turn",
        "units",
        "weight",
    )

    def __init__(self) -> None:
        self.candidate: C | None = None
        self.weight = 0.0
        self.units = 0
        self.turn = 0
        self.charge = 0
        """How much a turn adds to the sum of the starts."""
        self.band: list[Entry[C]] = []
        self.start = 0
        self.behind = 0
        """While it is away: the clock less its start, as they were when it left."""
        self.move = 0
        """The number of its last move: of equal starts the one that moved there first is first. 0 while away."""
        self.entry_start = 0
        self.entry_move = 0
        """Its entry in a heap; `entry_move` is 0 if it has none. An entry whose place has moved on is corrected when it
        gets to the top."""


Entry = tuple[int, int, Place[C]]
"""What a heap holds: a start, the number of the move that led there, and the place."""


class WeightedRoundRobin(Generic[C]):
    """All calls O(log candidates), and a pick looks at one candidate for each power of two between the weights."""

    __slots__ = ("_away", "_bands", "_clock", "_moves_count", "_places", "_starts_sum", "_units_sum")

    def __init__(self) -> None:
        self._bands: list[tuple[int, list[Entry[C]]]] = []
        """Rates, highest first, and their heaps."""
        self._places: dict[C, Place[C]] = {}
        self._away: dict[str, Place[C]] = {}
        """By worker_id, longest away first."""
        self._clock = 0
        """Advances as the average does at a pick, but stays where it is when the average jumps because a candidate
        left."""
        self._moves_count = 0
        self._units_sum = 0
        self._starts_sum = 0
        """Sum of units x start; divided by the sum of units it is the average start."""

    def add(self, candidate: C) -> None:
        weight = candidate.weight
        place = self._away.pop(candidate.worker_id, None)
        is_new = place is None
        if place is None:
            place = Place()
        place.candidate = candidate
        self._places[candidate] = place
        if weight != place.weight:
            self._weigh(place, weight)
        start = self._clock - place.behind
        if self._units_sum:
            ahead = start - self._starts_sum // self._units_sum
            if is_new:
                start -= ahead
            elif not -place.turn <= ahead <= place.turn:
                start -= self._excess(ahead, place.turn)
        self._move(place, start)

    def remove(self, candidate: C) -> None:
        place = self._places.pop(candidate)
        start = place.start
        self._units_sum -= place.units
        self._starts_sum -= place.units * start
        place.behind = self._clock - start
        place.candidate = None
        place.move = 0
        away = self._away
        away[candidate.worker_id] = place
        if len(away) > AWAY_COUNT_MAX:
            for worker_id in tuple(islice(away, AWAY_COUNT_MAX // 2)):
                away.pop(worker_id).entry_move = 0

    def changed(self, candidate: C) -> None:
        place = self._places[candidate]
        weight = candidate.weight
        if weight == place.weight:
            return
        average = self._starts_sum // self._units_sum
        credit = (average - place.start) * place.units
        self._units_sum -= place.units
        self._starts_sum -= place.units * place.start
        self._weigh(place, weight)
        # The same credit, so that no candidate gains a turn by being changed.
        self._move(place, average - credit // place.units)

    def pick(self, affinity: str | None) -> C | None:
        if not self._places:
            return None
        units_sum = self._units_sum
        self._clock += STRIDE // units_sum
        # Rounded up, so that of equal lags, which rounding could make differ, the one with the highest rate is longest.
        now = -(-(self._starts_sum + STRIDE) // units_sum)
        first: Entry[C] | None = None
        lag_max = 0
        for rate, band in self._bands:
            # A stale entry is too early, so one that does not win need not be corrected.
            if band and (lag := rate * (now - band[0][0])) > lag_max:
                if band[0][1] != band[0][2].move:
                    settle(band)
                    if not band or (lag := rate * (now - band[0][0])) <= lag_max:
                        continue
                first = band[0]
                lag_max = lag
        assert first is not None, "at least one candidate is behind the average, and so has a lag"
        place = first[2]
        place.start += place.turn
        self._starts_sum += place.charge
        place.move = self._moves_count = self._moves_count + 1
        return place.candidate

    def _excess(self, ahead: int, turn: int) -> int:
        """How far a candidate that comes back is ahead of the average (behind if negative) beyond what it may keep."""
        slack = turn + SLACK_TURNS_COUNT * len(self._places) * STRIDE // self._units_sum
        return ahead - min(max(ahead, -slack), slack)

    def _weigh(self, place: Place[C], weight: float) -> None:
        place.weight = weight
        place.units = units_of(weight)
        place.turn = STRIDE // place.units
        place.charge = place.units * place.turn
        place.band = self._band_of(place.units)
        place.entry_move = 0

    def _move(self, place: Place[C], start: int) -> None:
        self._units_sum += place.units
        self._starts_sum += place.units * start
        self._moves_count += 1
        place.start = start
        place.move = self._moves_count
        if place.entry_move and place.entry_start <= start:
            return
        band = place.band
        if len(band) > 2 * (len(self._places) + len(self._away)) + STALE_COUNT_MIN:
            band[:] = [entry for entry in band if entry[1] == entry[2].entry_move]
            heapify(band)
        place.entry_start = start
        place.entry_move = place.move
        heappush(band, (start, place.move, place))

    def _band_of(self, units: int) -> list[Entry[C]]:
        rate = 1 << units.bit_length()
        for other, band in self._bands:
            if other == rate:
                return band
        self._bands.append((rate, []))
        self._bands.sort(reverse=True)
        return self._band_of(units)


def settle(band: list[Entry[C]]) -> None:
    """Correct the top of `band` until it is up to date or nothing is left."""
    while band:
        entry = band[0]
        place = entry[2]
        if entry[1] == place.move:
            return
        if entry[1] != place.entry_move:
            heappop(band)
        elif place.move:
            place.entry_start = place.start
            place.entry_move = place.move
            heapreplace(band, (place.start, place.move, place))
        else:
            place.entry_move = 0
            heappop(band)
