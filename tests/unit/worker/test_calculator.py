"""Arithmetic on untrusted input: right if it is small, refused if it is absurd, and never code."""

import math
import operator
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.worker import CommandError
from taskferry.worker.calculator import INTEGER_BITS_MAX, Number, calculate

from tests.each_case import each_case

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
LARGEST = 2**INTEGER_BITS_MAX - 1


@each_case(
    ("a", "op", "b", "expected"),
    [
        (2, "+", 3, 5),
        (2, "-", 3.5, -1.5),
        (4, "*", 2.5, 10.0),
        (7, "/", 2, 3.5),
        (-7, "//", 2, -4),
        (-7, "%", 3, 2),
        (2, "**", 10, 1024),
        (2, "**", -1, 0.5),
        (0, "**", 0, 1),
        (2.0, "**", 0.5, math.sqrt(2)),
        (1, "**", 10**300, 1),
        (-1, "**", 10**300 + 1, -1),
        (0, "**", 10**300, 0),
        (LARGEST, "-", 1, LARGEST - 1),
        (-LARGEST, "+", 0, -LARGEST),
        (2, "**", INTEGER_BITS_MAX - 1, 2 ** (INTEGER_BITS_MAX - 1)),
    ],
)
def test_results(a: Number, op: str, b: Number, expected: Number) -> None:
    result = calculate(a, b, op)
    assert result == expected
    assert type(result) is type(expected)


@each_case(
    ("a", "op", "b", "code", "text"),
    [
        (1, "/", 0, "division_by_zero", "division by zero: 1 / 0"),
        (1, "//", 0, "division_by_zero", "division by zero: 1 // 0"),
        (1, "%", 0, "division_by_zero", "division by zero: 1 % 0"),
        (1.5, "%", 0.0, "division_by_zero", "division by zero: 1.5 % 0.0"),
        (0, "**", -1, "division_by_zero", "division by zero: 0 ** -1"),
        (10**30, "/", 0, "division_by_zero", "division by zero: 10000000000000000... / 0"),
        (1, "^", 2, "bad_request", "op: '^' is unknown; one of + - * / // % **"),
        (1, "__import__('os').system('x')", 2, "bad_request", "op: \"__import__('os').sys\" is unknown"),
        (10, "**", 10**9, "bad_request", "result: too large"),
        (10**300, "**", 10**300, "bad_request", "result: too large"),
        (-(10**300), "**", 10**300, "bad_request", "result: too large"),
        (2, "**", INTEGER_BITS_MAX, "bad_request", "result: over 4096 bits"),
        (3, "**", INTEGER_BITS_MAX - 1, "bad_request", "result: over 4096 bits"),
        (LARGEST, "+", 1, "bad_request", "result: over 4096 bits"),
        (LARGEST, "*", 2, "bad_request", "result: over 4096 bits"),
        (LARGEST + 1, "+", 1, "bad_request", "a: over 4096 bits"),
        (1, "+", -LARGEST - 1, "bad_request", "b: over 4096 bits"),
        (LARGEST, "/", 3, "bad_request", "result: too large"),
        (LARGEST, "+", 0.5, "bad_request", "result: too large"),
        (1e308, "*", 10.0, "bad_request", "result: inf is not a finite number"),
        (1e308, "**", 2, "bad_request", "result: too large"),
        (2, "**", 1e9, "bad_request", "result: too large"),
        (-8, "**", 0.5, "bad_request", "result: not a real number"),
        (math.nan, "+", 1, "bad_request", "a: nan is not a finite number"),
        (1, "-", math.inf, "bad_request", "b: inf is not a finite number"),
    ],
)
def test_refusals(a: Number, op: str, b: Number, code: str, text: str) -> None:
    with pytest.raises(CommandError) as caught:
        calculate(a, b, op)
    assert caught.value.code == code
    assert caught.value.text.startswith(text)


numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(-(2**5000), 2**5000),
    st.floats(allow_nan=True),
    st.integers(-20, 20),
)


@given(numbers, numbers, st.sampled_from(list(OPERATORS)))
def test_each_input_gives_pythons_answer_or_a_clear_error_at_once(a: Number, b: Number, op: str) -> None:
    began_at = time.process_time()
    try:
        result: Number | str = calculate(a, b, op)
    except CommandError as error:
        result = error.code
    if isinstance(result, str):
        assert result in {"division_by_zero", "bad_request"}
    else:
        assert result == OPERATORS[op](a, b)
        assert math.isfinite(result) if isinstance(result, float) else result.bit_length() <= INTEGER_BITS_MAX
    assert time.process_time() - began_at < 0.5
