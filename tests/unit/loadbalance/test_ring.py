"""The ring against a sorted list of all points, and what makes hashing consistent."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance import ring as ring_module
from taskferry.loadbalance.ring import (
    POINT_BITS,
    POINTS_COUNT,
    SLICE_POINTS_COUNT_MAX,
    Ring,
    place_of,
    places_of,
)

NAMES = [f"worker-{number}" for number in range(12)]
KEYS = [f"user:{number}" for number in range(2000)]


def ring_of(names: list[str]) -> Ring[str]:
    ring: Ring[str] = Ring()
    for name in names:
        ring.add(name, name)
    return ring


def owners_of(ring: Ring[str]) -> dict[str, str]:
    return {key: ring.owner(key).member for key in KEYS}


KEYS_FOR_WALKS = st.lists(st.text(max_size=20), min_size=1, max_size=5)


@pytest.mark.uncovered
@given(st.lists(st.integers(0, 11), max_size=30), KEYS_FOR_WALKS)
def test_a_key_belongs_to_the_first_point_from_it_onwards(comings: list[int], keys: list[str]) -> None:
    assert_walks(comings, keys)


@given(st.lists(st.integers(0, 11), max_size=30), KEYS_FOR_WALKS)
def test_two_members_may_stand_at_one_place(comings: list[int], keys: list[str]) -> None:
    def crowded_places_of(name: str) -> tuple[int, ...]:
        return tuple(place >> (POINT_BITS - 3) << (POINT_BITS - 3) for place in places_of(name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "places_of", crowded_places_of)
        assert_walks(comings, keys)


def assert_walks(comings: list[int], keys: list[str]) -> None:
    """Members come and go; then all points follow each key as they do in a sorted list."""
    ring: Ring[str] = Ring()
    there: set[str] = set()
    for which in comings:
        name = NAMES[which]
        if name in there:
            ring.remove(name)
        else:
            ring.add(name, name)
        there ^= {name}
    if not there:
        return
    points = sorted((place, name) for name in there for place in ring_module.places_of(name))
    for key in keys:
        first = next((number for number, (place, _) in enumerate(points) if place >= place_of(key)), 0)
        point = ring.owner(key)
        for number in range(len(points) + 1):
            assert point.member == points[(first + number) % len(points)][1]
            assert point.after.before is point
            point = point.after


def test_only_the_keys_of_one_that_leaves_move() -> None:
    before = owners_of(ring_of(NAMES))
    ring = ring_of(NAMES)
    ring.remove(NAMES[3])
    after = owners_of(ring)
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == NAMES[3]}
    ring.add(NAMES[3], NAMES[3])
    assert owners_of(ring) == before, "and they come back with it"


def test_the_order_in_which_members_came_does_not_matter() -> None:
    assert owners_of(ring_of(NAMES)) == owners_of(ring_of(NAMES[::-1]))


def test_places_are_the_same_in_every_process() -> None:
    # Python's own hash of a string differs from process to process.
    code = "from taskferry.loadbalance.ring import place_of, places_of; print(place_of('key'), sum(places_of('w')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(place_of("key")), str(sum(places_of("w")))]
    assert (place_of("key"), places_of("w")[0]) == (2433418248, 690500382), "and in every release"


def test_keys_are_spread_out_however_alike_they_are() -> None:
    for keys in (KEYS, [str(number) for number in range(2000)], ["k" * number for number in range(500)]):
        eighths = Counter(place_of(key) >> (POINT_BITS - 3) for key in keys)
        assert all(abs(eighths[eighth] - len(keys) / 8) < len(keys) / 16 for eighth in range(8))


def test_members_get_about_as_many_keys_each() -> None:
    counts = Counter(owners_of(ring_of(NAMES)).values())
    fair = len(KEYS) / len(NAMES)
    assert all(fair / 2 < counts[name] < fair * 2 for name in NAMES)


def test_a_member_has_many_points() -> None:
    assert len(set(places_of("w"))) == POINTS_COUNT
    assert all(0 <= place < 1 << POINT_BITS for place in places_of("w"))


def test_a_slice_holds_few_points_however_many_members_there_are() -> None:
    ring = ring_of([f"worker-{number}" for number in range(64)])
    sizes = [len(part.points) for part in ring._slices]
    assert len(sizes) == 64 * POINTS_COUNT // SLICE_POINTS_COUNT_MAX
    assert max(sizes) < 3 * SLICE_POINTS_COUNT_MAX
