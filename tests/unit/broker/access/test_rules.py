"""Patterns match as those of `fnmatch` do, and cheaply, whatever the pattern and the name."""

import time
import warnings
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from taskferry.broker.access.rules import OTHERS_COUNT_MAX, PATTERN_LENGTH_MAX, Rules
from taskferry.broker.topics.channels import matcher

from tests.each_case import each_case

names = st.text("ab*?[]!-^\\&~|.\n=", max_size=8)


@given(pattern=names.filter(bool), name=names)
@example("a*", "a")
@example("*", "")
@example("[a]*", "ab")
@example("a?", "ab")
@example("a*b", "ab")
@example("a?*", "ab")
@example("ab*", "ac")
@example("ab*", "abc")
@example("[", "[")
@example("[[]", "[")
@example("[a&&b]", "&")
@example("a*", "a\nb")
def test_a_pattern_matches_what_it_matches_as_a_file_name(pattern: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Rules({pattern: "a rule"}).match(name)
    assert found == ("a rule" if fnmatchcase(name, pattern) else None)


@given(rule=names.filter(bool), pattern=names, topic=names)
@example("a*", "a*", "ab")
@example("a*b", "a*b", "aab")
@example("a?", "a*", "abc")
@example("[ab]*", "[ab]*", "[ab]")
@example("a[b]*", "ab*", "abc")
@example("ab", "a*", "ab")
@example("ab", "b*", "ab")
def test_a_pattern_of_topics_is_compared_safely(rule: str, pattern: str, topic: str) -> None:
    rules = Rules({rule: "it"})
    is_of_pattern = matcher(pattern)(topic) is not None
    is_of_rule = rules.match(topic) is not None
    if rules.covers(pattern):
        assert is_of_rule or not is_of_pattern
    if is_of_rule and is_of_pattern:
        assert rules.meets(pattern)


@each_case(
    ("pattern", "covered", "met"),
    [
        ("resize-*", True, True),
        ("resize-a*", True, True),
        ("resize-a", True, True),
        ("re*", False, True),
        ("*", False, True),
        ("a*-huge", False, True),
        ("*-huge", True, True),
        ("crop-*", False, True),
        ("crop", False, False),
    ],
)
def test_which_patterns_of_topics_rules_cover_and_meet(pattern: str, covered: bool, met: bool) -> None:
    rules = Rules({"resize": "by name", "resize-*": "by prefix", "*-huge": "by another pattern"})
    assert (rules.covers(pattern) is not None, rules.meets(pattern) is not None) == (covered, met)


def test_what_begins_otherwise_is_not_met() -> None:
    rules = Rules({"task:secret*": "it", "exact": "it"})
    assert rules.meets("task:list*") is None
    assert rules.meets("exact*") == "it"
    assert rules.meets("exactly*") is None


@each_case(
    ("name", "source"),
    [
        ("resize", "by name"),
        ("resize-image", "by prefix"),
        ("a-huge", "by another pattern"),
        ("resize-", "by prefix"),
        ("Resize", None),
        ("", None),
    ],
)
def test_the_rule_that_matched_is_named(name: str, source: str | None) -> None:
    rules = Rules({"resize": "by name", "resize-*": "by prefix", "*-huge": "by another pattern"})
    assert rules.match(name) == source


@pytest.mark.parametrize("length", [1, PATTERN_LENGTH_MAX])
def test_a_pattern_may_have_this_length(length: int) -> None:
    assert Rules({"x" * length: "it"}).match("x" * length) == "it"


@pytest.mark.parametrize("length", [0, PATTERN_LENGTH_MAX + 1])
def test_a_pattern_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"a pattern has 1 to 257 characters, .* has {length}"):
        Rules({"x" * length: "it"})


def cheapest_s(rules: Rules, names: list[str]) -> float:
    """The least seconds, of some tries, to match these names."""
    tries = []
    for _ in range(5):
        began_at = time.perf_counter()
        for name in names:
            assert rules.match(name) is None
        tries.append(time.perf_counter() - began_at)
    return min(tries)


@pytest.mark.parametrize(
    "pattern", ["*a" * 60 + "*b", "*" * 100 + "b", "*?" * 100 + "b", "*[a]" * 50 + "b*c"]
)
def test_no_name_makes_a_pattern_slow(pattern: str) -> None:
    """Where stars backtrack into each other, this takes longer than anyone can wait."""
    assert cheapest_s(Rules({pattern: "it"}), ["a" * 257]) < 0.02


def test_many_patterns_stay_compiled() -> None:
    """`fnmatch` keeps 256 of all that there are. It would compile the others again for each name: some 20 ms."""
    rules = [Rules({f"*-{number}": "it" for number in range(first, first + 100)}) for first in (0, 100, 200)]
    assert sum(cheapest_s(few, ["a"]) for few in rules) < 0.005


def test_names_and_prefixes_may_be_many_and_other_patterns_are_bounded() -> None:
    cheap = {f"name-{number}": "a name" for number in range(1000)} | {"resize-*": "a prefix"}
    others = {f"*-{number}": f"rule {number}" for number in range(OTHERS_COUNT_MAX)}
    assert Rules(cheap | others).match("x-99") == "rule 99"
    with pytest.raises(ValueError, match="101 patterns with a wildcard before their end, at most 100"):
        Rules(others | {"a?": "one more"})
