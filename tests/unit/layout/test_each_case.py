"""A test of many cases tries them all, and names those that fail with the reason of each."""

import inspect

import pytest

from tests.each_case import NAME_LENGTH_MAX, each_case


def test_each_failure_is_named_with_its_reason_and_the_first_is_the_cause() -> None:
    seen: list[int] = []

    @each_case(("number", "limit"), [(1, 2), (3, 2), (4, 2), (0, 2), (5, 9)])
    def check(number: int, limit: int) -> None:
        seen.append(number)
        assert 1 / number
        assert number < limit, "too large"

    with pytest.raises(AssertionError) as caught:
        check()
    assert seen == [1, 3, 4, 0, 5]
    heading, *reasons = str(caught.value).splitlines()
    assert heading == "3 of 5 cases fail:"
    starts = ["(3, 2): too large", "(4, 2): too large", "(0, 2): ZeroDivisionError: division by zero"]
    assert [line for line in reasons if not line.startswith(" ")] == starts
    assert str(caught.value.__cause__).startswith("too large")


def test_an_error_that_is_missing_is_a_failure_too() -> None:
    @each_case("text", ["1", "x"], ids="a case of {}".format)
    def check(text: str) -> None:
        with pytest.raises(ValueError, match="invalid"):
            int(text)

    with pytest.raises(
        AssertionError, match=r"(?s)^1 of 2 cases fail:\na case of 1: DID NOT RAISE .*ValueError"
    ):
        check()


def test_two_lists_of_cases_are_combined_and_what_is_left_is_for_pytest() -> None:
    seen: list[tuple[int, str, bool]] = []

    @each_case("number", [1, 2])
    @each_case("letter", "ab")
    def check(number: int, letter: str, fixture: bool) -> None:
        seen.append((number, letter, fixture))

    assert list(inspect.signature(check).parameters) == ["fixture"]
    check(fixture=True)
    assert seen == [(1, "a", True), (1, "b", True), (2, "a", True), (2, "b", True)]


def test_the_name_of_a_large_case_is_cut() -> None:
    @each_case("text", ["x" * 10_000])
    def check(text: str) -> None:
        raise AssertionError

    with pytest.raises(AssertionError) as caught:
        check()
    assert len(str(caught.value)) < NAME_LENGTH_MAX + 100


def test_a_test_without_cases_fails() -> None:
    @each_case("number", [])
    def check(number: int) -> None: ...

    with pytest.raises(AssertionError, match="there is no case"):
        check()
