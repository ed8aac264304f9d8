"""Members come back when they are due, in that order, and the memory for them is bounded."""

import random

from taskferry.broker.expiries import STALE_COUNT_MIN, Expiries


def due(expiries: Expiries[str], now: float) -> list[str]:
    found = []
    while (member := expiries.pop(now)) is not None:
        found.append(member)
    return found


def test_what_is_due_comes_once_and_in_order() -> None:
    expiries: Expiries[str] = Expiries()
    for member, at in {"b": 2.0, "a": 1.0, "c": 3.0, "also b": 2.0}.items():
        expiries.set(member, at)
    assert not expiries.is_due(0.9)
    assert due(expiries, 0.9) == []
    assert expiries.is_due(2.0)
    assert due(expiries, 2.0) == ["a", "b", "also b"]
    assert due(expiries, 2.9) == []
    assert due(expiries, 3.0) == ["c"]
    assert len(expiries) == 0


def test_only_the_last_time_counts() -> None:
    expiries: Expiries[str] = Expiries()
    expiries.set("later", 1.0)
    expiries.set("later", 5.0)
    expiries.set("sooner", 5.0)
    expiries.set("sooner", 1.0)
    expiries.set("removed", 1.0)
    expiries.remove("removed")
    expiries.remove("never there")
    assert due(expiries, 1.0) == ["sooner"]
    assert due(expiries, 5.0) == ["later"]


def test_entries_that_do_not_count_are_bounded() -> None:
    expiries: Expiries[str] = Expiries()
    chance = random.Random(1)
    wanted: dict[str, float] = {}
    for _ in range(5_000):
        member = f"m{chance.randrange(40)}"
        if chance.random() < 0.3:
            expiries.remove(member)
            wanted.pop(member, None)
        else:
            wanted[member] = chance.random()
            expiries.set(member, wanted[member])
            expiries.set(member, wanted[member])
        assert expiries.entries_count <= 2 * len(expiries) + STALE_COUNT_MIN
        assert len(expiries) == len(wanted)
    assert due(expiries, 1.0) == sorted(wanted, key=wanted.__getitem__)
