"""A hash ring: each member has many points on a circle, and a key belongs to the member of the first point after it.

Source: Karger et al., "Consistent Hashing and Random Trees" (1997): if a member joins or leaves, only the keys next to
its points move.
"""

from array import array
from bisect import bisect_left
from hashlib import shake_128
from itertools import chain
from struct import unpack
from typing import Final, Generic, TypeVar
from zlib import crc32

M = TypeVar("M")

POINTS_COUNT: Final = 32
"""Points of one member. The share of the keys that a member gets varies by about 1 / sqrt(points), 18 %, which is less
than the slack of bounded loads; together they cost about 5 KB."""

POINT_BITS: Final = 32
POINT_FORMAT: Final = f"<{POINTS_COUNT}I"
POINT_BYTES_COUNT: Final = POINT_BITS // 8 * POINTS_COUNT

SLICE_POINTS_COUNT_MAX: Final = 16
"""Average points per slice of the ring at which the number of slices doubles."""

GOLDEN: Final = 0x9E3779B1
"""The prime next to 2 ** 32 / golden ratio: Knuth's multiplicative hashing, The Art of Computer Programming 6.4."""


def places_of(name: str) -> tuple[int, ...]:
    """The points of member `name` on the circle: the same in every process, and pseudo-random."""
    return unpack(POINT_FORMAT, shake_128(name.encode()).digest(POINT_BYTES_COUNT))


def place_of(key: str) -> int:
    """The place of `key` on the circle, below 2 ** POINT_BITS: the same in every process. Cheap: called at every
    pick."""
    crc = crc32(key.encode())
    return ((crc ^ crc >> 15) * GOLDEN) % (1 << POINT_BITS)


class Point(Generic[M]):
    """One point of a member; `after` is the next one along the circle, itself if it is the only one."""

    __slots__ = ("after", "before", "member", "name", "place")

    def __init__(self, place: int, name: str, member: M) -> None:
        self.place = place
        self.name = name
        """Of the member: of two points at one place the lesser name comes first."""
        self.member = member
        self.after = self
        self.before = self


class Slice(Generic[M]):
    """A part of the circle: its points in order, and their places once more, which are faster to search."""

    __slots__ = ("places", "points")

    def __init__(self) -> None:
        self.places = array("L")  # at least 32 bits everywhere, and side by side in memory
        self.points: list[Point[M]] = []

    def position_of(self, place: int, name: str) -> int:
        """How many points come before that of member `name` at `place`."""
        position = bisect_left(self.places, place)
        end = len(self.places)
        while position < end and self.places[position] == place and self.points[position].name < name:
            position += 1
        return position


class Ring(Generic[M]):
    """The circle is cut into equal slices, whose number doubles as the points do, so that a slice holds few: a key is
    looked up in O(1), a member is added or removed in O(its points), whatever the number of members."""

    __slots__ = ("_points_count", "_shift", "_slices")

    def __init__(self) -> None:
        self._slices: list[Slice[M]] = [Slice()]
        self._shift = POINT_BITS
        """How far a place is shifted to the right to give the index of its slice."""
        self._points_count = 0

    def add(self, name: str, member: M) -> None:
        """Add `member`; `name` must be new."""
        for place in places_of(name):
            point = Point(place, name, member)
            part = self._slices[place >> self._shift]
            position = part.position_of(place, name)
            if self._points_count:
                after = part.points[position] if position < len(part.points) else self._first_behind(place)
                point.after = after
                point.before = after.before
                after.before.after = point
                after.before = point
            part.places.insert(position, place)
            part.points.insert(position, point)
            self._points_count += 1
        if self._points_count > SLICE_POINTS_COUNT_MAX * len(self._slices):
            self._cut()

    def remove(self, name: str) -> None:
        """Remove the member of that `name`, which must be there."""
        for place in places_of(name):
            part = self._slices[place >> self._shift]
            position = part.position_of(place, name)
            del part.places[position]
            point = part.points.pop(position)
            point.before.after = point.after
            point.after.before = point.before
            self._points_count -= 1

    def owner(self, key: str) -> Point[M]:
        """The point that `key` belongs to; the ring must have one. The next ones are `after` it."""
        place = place_of(key)
        part = self._slices[place >> self._shift]
        position = bisect_left(part.places, place)
        return part.points[position] if position < len(part.places) else self._first_behind(place)

    def _first_behind(self, place: int) -> Point[M]:
        """The first point after the slice of `place`: of the next slice that has any."""
        index = place >> self._shift
        part = self._slices[index]
        if part.points:
            return part.points[-1].after
        while not part.points:
            index = (index + 1) % len(self._slices)
            part = self._slices[index]
        return part.points[0]

    def _cut(self) -> None:
        self._shift -= 1
        parts = self._slices
        self._slices = [Slice() for _ in range(2 * len(parts))]
        for point in chain.from_iterable(part.points for part in parts):
            part = self._slices[point.place >> self._shift]
            part.places.append(point.place)
            part.points.append(point)
