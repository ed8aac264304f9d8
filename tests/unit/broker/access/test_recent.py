"""What is in use is kept, and of the others a bounded number of the most recent ones."""

from taskferry.broker.access.recent import Recent


def test_the_one_that_is_out_of_use_longest_is_forgotten() -> None:
    recent: Recent[int] = Recent(2)
    recent.add("a", 1)
    recent.add("b", 2)
    assert recent.find("a") == 1
    recent.add("c", 3)
    assert [recent.find(name) for name in "abc"] == [1, None, 3]
    assert len(recent) == 2


def test_what_is_in_use_is_kept_however_many_others_come() -> None:
    recent: Recent[int] = Recent(1)
    recent.add("a", 1)
    recent.use("a", 1)
    for number in range(10):
        recent.add(f"other{number}", number)
    assert recent.find("a") == 1
    assert list(recent) == [1, 9]
    recent.release("a", 1)
    assert list(recent) == [1], "it is the most recent one now"


def test_one_that_was_forgotten_can_be_used() -> None:
    recent: Recent[int] = Recent(0)
    recent.add("a", 1)
    assert recent.find("a") is None
    recent.use("a", 1)
    assert recent.find("a") == 1


def test_one_that_was_forgotten_leaves_its_successor_alone() -> None:
    recent: Recent[int] = Recent(1)
    recent.add("a", 1)
    recent.add("b", 0)
    recent.add("a", 2)
    recent.use("a", 2)
    recent.use("a", 1)
    assert recent.find("a") == 2
    recent.release("a", 1)
    assert recent.find("a") == 2
    assert list(recent) == [2]
