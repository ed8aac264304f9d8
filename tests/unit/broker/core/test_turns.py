"""Whose turn it is: the rule against a naive one, shares in the long run, leads in the short run."""

from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.core.queue import turns
from taskferry.broker.core.queue.turns import PRIORITY_STEP_S, SMOOTHING, WEIGHTS, Turn, Turns
from taskferry.protocol.limits import PRIORITY_MAX

SLOT_S: Final = 0.01


class NaiveTurns:
    """The same rule over a list: of equal ranks, the one that was placed first."""

    def __init__(self) -> None:
        self.parties: list[str] = []
        self.clocks: dict[str, float] = {}
        self.priorities: dict[str, int] = {}
        self.interval_s = 0.0
        self.served_at = 0.0

    def enter(self, party: str, priority: int, since: float, now: float) -> None:
        if not self.parties:
            self.interval_s, self.served_at = 0.0, now
        self.parties.append(party)
        self.priorities[party] = priority
        self.clocks[party] = since - self.interval_s * (1.0 - SMOOTHING) / SMOOTHING

    def first(self) -> str:
        return min(self.parties, key=lambda party: self.clocks[party] - self.priorities[party])

    def served(self, party: str, now: float) -> None:
        self.interval_s += (now - self.served_at - self.interval_s) * SMOOTHING
        self.served_at = now
        weight = sum(WEIGHTS[self.priorities[other]] for other in self.parties)
        self.clocks[party] += self.interval_s * weight / WEIGHTS[self.priorities[party]]

    def place(self, party: str, priority: int) -> None:
        self.parties.remove(party)
        self.parties.append(party)
        self.priorities[party] = priority


steps = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.integers(0, PRIORITY_MAX),
        st.sampled_from(["come or go", "serve", "serve", "serve", "change", "copy"]),
        st.sampled_from([0.0, 0.0, 0.25, 1.0]),
    ),
    max_size=120,
)


@given(steps, st.integers(0, 3))
def test_the_turns_are_those_of_a_naive_rule(
    walk: list[tuple[str, int, str, float]], stale_count: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "STALE_COUNT_MIN", stale_count)
        tried, naive, now = Turns[str](), NaiveTurns(), 100.0
        places: dict[str, Turn[str]] = {}
        for party, priority, what, pause_s in walk:
            now += pause_s
            if what == "come or go" and party in places:
                tried.leave(places.pop(party))
                naive.parties.remove(party)
            elif what == "come or go":
                places[party] = Turn(party)
                tried.enter(places[party], priority, now - pause_s, now)
                naive.enter(party, priority, now - pause_s, now)
            elif what == "change" and party in places:
                tried.place(places[party], priority)
                naive.place(party, priority)
            elif what == "copy":
                copies = {turn: Turn(turn.party) for turn in places.values()}
                tried = tried.copy(copies)
                places = {turn.party: turn for turn in copies.values()}
            elif what == "serve" and places:
                turn = tried.first()
                assert turn.party == naive.first()
                tried.served(turn, now)
                naive.served(turn.party, now)
                tried.place(turn, priority)
                naive.place(turn.party, priority)
            assert tried.count == len(naive.parties)
            assert {party: turn.clock for party, turn in places.items()} == {
                party: naive.clocks[party] for party in naive.parties
            }
            assert len(tried._heap) <= 2 * tried.count + stale_count + 1


def served(priorities: dict[str, int], seconds: float, slot_s: float = SLOT_S) -> list[str]:
    """Who is served if these parties always have something waiting, one each `slot_s`."""
    waiting, now = Turns[str](), 0.0
    for party, priority in priorities.items():
        waiting.enter(Turn(party), priority, 0.0, 0.0)
    order = []
    for _ in range(round(seconds / slot_s)):
        now += slot_s
        turn = waiting.first()
        waiting.served(turn, now)
        waiting.place(turn, turn.priority)
        order.append(turn.party)
    return order


def test_parties_of_one_priority_take_turns() -> None:
    order = served({"a": 5, "b": 5, "c": 5}, 3.0)
    assert order == ["a", "b", "c"] * 100


@pytest.mark.parametrize(("high", "low"), [(9, 0), (9, 5), (6, 5), (1, 0)])
def test_a_lead_is_borrowed_once_and_then_each_party_gets_its_share(high: int, low: int) -> None:
    lead_s = (high - low) * PRIORITY_STEP_S
    order = served({"high": high, "low": low}, 60.0)
    first_s = (order.index("low") + 1) * SLOT_S
    assert lead_s / 2 <= first_s <= lead_s + SLOT_S
    share = WEIGHTS[low] / (WEIGHTS[high] + WEIGHTS[low])
    after = order[round(2 * lead_s / SLOT_S) :]
    assert after.count("low") / len(after) == pytest.approx(share, rel=0.02)


def test_a_party_that_comes_later_gets_its_share_and_no_more() -> None:
    waiting, now = Turns[str](), 0.0
    waiting.enter(Turn("early"), 5, now, now)
    late = Turn("late")
    order = []
    for number in range(400):
        now += SLOT_S
        if number == 200:
            waiting.enter(late, 5, now, now)
        turn = waiting.first()
        waiting.served(turn, now)
        waiting.place(turn, turn.priority)
        order.append(turn.party)
    assert order[:200] == ["early"] * 200
    assert order[200:204].count("late") >= 1, "it does not pay for what others got before"
    assert 95 <= order[200:].count("late") <= 105


def test_whoever_has_waited_since_earlier_goes_first() -> None:
    waiting = Turns[str]()
    waiting.enter(Turn("now"), 5, 100.0, 100.0)
    waiting.enter(Turn("again"), 5, 95.0, 100.0)
    assert waiting.first().party == "again"


def test_a_flood_of_the_highest_priority_by_ever_new_parties_is_ahead_by_nine_steps() -> None:
    waiting, now = Turns[str](), 0.0
    waiting.enter(Turn("low"), 0, now, now)
    while True:
        waiting.enter(Turn("new"), PRIORITY_MAX, now, now)
        turn = waiting.first()
        if turn.party == "low":
            break
        waiting.served(turn, now)
        waiting.leave(turn)
        now += 0.1
    assert now == pytest.approx(PRIORITY_MAX * PRIORITY_STEP_S, abs=0.5)


def test_the_weights_are_those_of_nice_levels() -> None:
    assert WEIGHTS[0] == 100
    for lower, higher in pairwise(WEIGHTS):
        assert higher / lower == pytest.approx(1.25, rel=0.01)
    assert (PRIORITY_STEP_S, len(WEIGHTS)) == (1.0, PRIORITY_MAX + 1)


def test_outdated_places_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert turns.STALE_COUNT_MIN == 32
    monkeypatch.setattr(turns, "STALE_COUNT_MIN", 3)
    waiting, last = Turns[str](), Turn("last")
    waiting.enter(Turn("first"), 5, 0.0, 0.0)
    waiting.enter(last, 4, 0.0, 0.0)
    for priority in (3, 2, 1, 0, 1, 2, 3, 4) * 10:
        waiting.place(last, priority)
        assert len(waiting._heap) <= 2 * waiting.count + 3
    assert waiting.first().party == "first"
    waiting.place(last, 9)
    assert waiting.first().party == "last"
