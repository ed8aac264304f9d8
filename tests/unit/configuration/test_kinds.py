"""Which values each kind accepts, and the error for all others."""

from typing import Any

import pytest
from taskferry.configuration.kinds import Choice, Dictionary, Kind, List, Number, Switch, Text, Whole

from tests.each_case import each_case

PORT = Whole(0, 65535)
TIMEOUT = Number(0, 3600, "seconds", is_low_open=True)
WEIGHT = Number(0.01, 100)
LEVEL = Choice(("debug", "info"))
LABELS = Dictionary(Text(8, length_min=1), Text(8), 2)
NAMES = List(Text(8, length_min=1), 2)


def no_spaces(text: str) -> None:
    if " " in text:
        raise ValueError("a space is in it")


@each_case(
    ("kind", "value"),
    [
        (PORT, 0),
        (PORT, 65535),
        (TIMEOUT, 0.001),
        (TIMEOUT, 3600),
        (WEIGHT, 0.01),
        (WEIGHT, 100.0),
        (LEVEL, "info"),
        (Switch(), True),
        (Switch(), False),
        (Text(3), ""),
        (Text(3, length_min=3), "abc"),
        (Text(3, check=no_spaces), "abc"),
        (LABELS, {}),
        (LABELS, {"a": "", "12345678": "12345678"}),
    ],
)
def test_a_value_within_bounds_is_accepted(kind: Kind, value: Any) -> None:
    assert kind.convert(value) == value


@pytest.mark.parametrize("value", [[], ["a"], ["a", "12345678"], ("a", "b")])
def test_a_list_within_bounds_is_accepted(value: Any) -> None:
    assert NAMES.convert(value) == tuple(value)


def test_a_whole_number_is_accepted_as_a_number() -> None:
    converted = TIMEOUT.convert(5)
    assert (converted, type(converted)) == (5.0, float)


@each_case(
    ("kind", "value", "text"),
    [
        (PORT, -1, "expected a whole number from 0 to 65535, got -1"),
        (PORT, 65536, "expected a whole number from 0 to 65535, got 65536"),
        (PORT, 1.5, "expected a whole number from 0 to 65535, got 1.5"),
        (PORT, True, "expected a whole number from 0 to 65535, got true"),
        (PORT, "8765", 'expected a whole number from 0 to 65535, got "8765"; write it without quotes'),
        (PORT, "http", 'expected a whole number from 0 to 65535, got "http"'),
        (PORT, [], "expected a whole number from 0 to 65535, got a list"),
        (Whole(1, 2, "bytes"), 3, "expected a whole number of bytes from 1 to 2, got 3"),
        (NAMES, "a", 'expected a list of at most 2 texts, got "a"; write it in brackets: [...]'),
        (NAMES, 1, "expected a list of at most 2 texts, got 1"),
        (NAMES, {}, "expected a list of at most 2 texts, got a table"),
        (NAMES, ["a", "b", "c"], "expected at most 2 texts, got 3"),
        (NAMES, ["a", ""], '"": expected a text of 1 to 8 characters, got 0'),
        (NAMES, [1], "1: expected a text of 1 to 8 characters, got 1; write it in quotes"),
        (TIMEOUT, 0, "expected a number of seconds over 0 and at most 3600, got 0"),
        (TIMEOUT, 3600.1, "expected a number of seconds over 0 and at most 3600, got 3600.1"),
        (TIMEOUT, float("nan"), "expected a number of seconds over 0 and at most 3600, got nan"),
        (
            TIMEOUT,
            "0.5",
            'expected a number of seconds over 0 and at most 3600, got "0.5"; write it without quotes',
        ),
        (TIMEOUT, False, "expected a number of seconds over 0 and at most 3600, got false"),
        (WEIGHT, 0.001, "expected a number from 0.01 to 100, got 0.001"),
        (LEVEL, "inf", 'expected one of debug, info, got "inf"; did you mean info?'),
        (LEVEL, "loud", 'expected one of debug, info, got "loud"'),
        (LEVEL, 1, "expected one of debug, info, got 1"),
        (Switch(), "true", 'expected true or false, got "true"; write true without quotes'),
        (Switch(), 1, "expected true or false, got 1"),
        (Text(3), "abcd", "expected a text of 0 to 3 characters, got 4"),
        (Text(3, length_min=1), "", "expected a text of 1 to 3 characters, got 0"),
        (Text(3), 127, "expected a text of 0 to 3 characters, got 127; write it in quotes"),
        (Text(3), {}, "expected a text of 0 to 3 characters, got a table"),
        (Text(3, check=no_spaces), "a b", "a space is in it"),
        (LABELS, "x", 'expected a table of at most 2 names, each with a text of 0 to 8 characters, got "x"'),
        (LABELS, {"a": 1}, '"a": expected a text of 0 to 8 characters, got 1; write it in quotes'),
        (LABELS, {"": "x"}, '"": expected a text of 1 to 8 characters, got 0'),
        (LABELS, {"a": "", "b": "", "c": ""}, "expected at most 2 names, got 3"),
    ],
)
def test_an_error_names_the_bound_and_what_to_do(kind: Kind, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        kind.convert(value)
    assert str(error.value) == text


def test_a_long_wrong_value_is_cut_and_stays_on_one_line() -> None:
    with pytest.raises(ValueError, match=r".") as error:
        LEVEL.convert("x\n" * 1000)
    assert len(str(error.value)) < 120
    assert "\n" not in str(error.value)


def test_a_table_may_have_a_rule_over_all_of_it() -> None:
    def check(values: dict[str, str]) -> None:
        if len(set(values.values())) < len(values):
            raise ValueError("two are equal")

    kind = LABELS._replace(check=check)
    assert kind.convert({"a": "x", "b": "y"})
    with pytest.raises(ValueError, match=r"^two are equal$"):
        kind.convert({"a": "x", "b": "x"})
