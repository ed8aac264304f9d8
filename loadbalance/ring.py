"""A hash ring: members stand at many points of a circle, and a key belongs to the first member that follows it.

Source: Karger et al., "Consistent Hashing and Random Trees" (1997): where a member comes or goes, only the keys next to
its points move. Knows names, points and keys. Must not know loads or health: whoever walks along the ring judges that.
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
"""Points in a slice of the ring, on average, before there are twice as many slices."""

GOLDEN: Final = 0x9E3779B1
"""The prime next to 2 ** 32 / golden ratio: Knuth's multiplicative hashing, The Art of Computer Programming 6.4."""


def places_of(name: str) -> tuple[int, ...]:
    """Where `name` stands: the same in every process, and as if drawn by chance."""
    return unpack(POINT_FORMAT, shake_128(name.encode()).digest(POINT_BYTES_COUNT))


def place_of(key: str) -> int:
    """Where `key` stands, from 0 up to 2 ** POINT_BITS: the same in every process. Cheap: it is asked at every pick."""
    crc = crc32(key.encode())
    return ((crc ^ crc >> 15) * GOLDEN) % (1 << POINT_BITS)


class Point(Generic[M]):
    """One point of a member; `after` is the next one along the circle, itself where it is alone."""

    __slots__ = ("after", "before", "member", "name", "place")

    def __init__(self, place: int, name: str, member: M) -> None:
        self.place = place
        self.name = name
        """Of the member: of two at one place the lesser name comes first."""
        self.member = member
        self.after = self
        self.before = self


class Slice(Generic[M]):
    """A part of the circle: its points in order, and their places again, which can be searched faster."""

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
    """The circle is cut into equal slices, which double in number as points do, so that a slice holds a few points: a
    key is looked up in O(1), a member is added or removed in O(its points), whatever the number of members."""

    __slots__ = ("_points_count", "_shift", "_slices")

    def __init__(self) -> None:
        self._slices: list[Slice[M]] = [Slice()]
        self._shift = POINT_BITS
        """How far a place is shifted to the right to give the index of its slice."""
        self._points_count = 0

    def add(self, name: str, member: M) -> None:
        """Put in `member`, whose `name` is not there."""
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
        """Take out the member of that `name`, which is there."""
        for place in places_of(name):
            part = self._slices[place >> self._shift]
            position = part.position_of(place, name)
            del part.places[position]
            point = part.points.pop(position)
            point.before.after = point.after
            point.after.before = point.before
            self._points_count -= 1

    def owner(self, key: str) -> Point[M]:
        """The point that `key` belongs to; there must be one. The next ones are `after` it."""
        place = place_of(key)
        part = self._slices[place >> self._shift]
        position = bisect_left(part.places, place)
        return part.points[position] if position < len(part.places) else self._first_behind(place)

    def _first_behind(self, place: int) -> Point[M]:
        """The first point behind the slice of `place`, where another one may be the first to have any."""
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
