"""Which of many parties holds most: against a naive search, and within its bound on notes."""

from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.core.queue.holdings import NOTES_COUNT_MIN, Holder, Holders, Holding, Holdings

OWNERS = [f"o{number}" for number in range(40)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(OWNERS) - 1),
            st.sampled_from(["add", "add", "take", "take all", "ask", "drain the largest"]),
            st.integers(1, 100),
        ),
        max_size=300,
    )
)
def test_the_largest_is_that_of_a_naive_search(walk: list[tuple[int, str, int]]) -> None:
    holdings, tried = Holdings[str](), [Holding(owner) for owner in OWNERS]
    amounts = dict.fromkeys(OWNERS, 0)
    for which, what, amount in walk:
        holding = tried[which]
        if what == "add":
            holdings.add(holding, amount)
            amounts[holding.owner] += amount
        elif what in {"take", "take all"}:
            taken = holding.amount if what == "take all" else min(amount, holding.amount)
            holding.amount -= taken
            amounts[holding.owner] -= taken
        else:
            most = holdings.most()
            assert (0 if most is None else most.amount) == max(amounts.values())
            if most is not None and what == "drain the largest":
                taken = min(amount, most.amount)
                most.amount -= taken
                amounts[most.owner] -= taken
        assert {holding.owner: holding.amount for holding in tried} == amounts
        assert len(holdings._heap) <= max(NOTES_COUNT_MIN, 2 * len(OWNERS) + NOTES_COUNT_MIN)


def test_owners_that_come_and_go_leave_nothing() -> None:
    holdings = Holdings[int]()
    for number in range(10_000):
        holding = Holding(number)
        holdings.add(holding, 5)
        holding.amount = 0
    assert len(holdings._heap) <= NOTES_COUNT_MIN
    assert holdings.most() is None


def test_an_owner_that_holds_something_again_is_found() -> None:
    holdings, holding = Holdings[str](), Holding("again")
    holdings.add(holding, 5)
    holding.amount = 0
    assert holdings.most() is None
    holdings.add(holding, 1)
    most = holdings.most()
    assert most is not None
    assert (most.owner, most.amount) == ("again", 1)


def test_count_and_bytes_are_held_apart() -> None:
    holders, many, large = Holders[str](), Holder("many"), Holder("large")
    for _ in range(3):
        holders.add(many, 10)
    holders.add(large, 1000)
    by_count, by_size = holders.most(by_size=False), holders.most(by_size=True)
    assert by_count is not None
    assert by_size is not None
    assert (by_count.owner, by_count.amount, by_size.owner, by_size.amount) == ("many", 3, "large", 1000)
    assert (many.amount(by_size=False), many.amount(by_size=True)) == (3, 30)
    large.remove(1000)
    assert (large.amount(by_size=False), large.amount(by_size=True)) == (0, 0)
