"""Arithmetic on two untrusted numbers, bounded so that no input takes long or fills memory.

Evaluates no code. What cannot be computed is a CommandError that says why.
"""

import math
import operator
from collections.abc import Callable
from typing import Final

from .failure import CommandError

Number = int | float

INTEGER_BITS_MAX: Final = 4096
"""Operands and results that are integers: 1233 decimal digits, far more than anyone needs, far less than does harm, and
below the 4300 digits that Python itself converts to text."""

DIVISION_BY_ZERO: Final = "division_by_zero"
BAD_REQUEST: Final = "bad_request"


def calculate(a: Number, b: Number, op: str) -> Number:
    """`a op b`, for + - * / // % **, as Python computes it.

    Raises CommandError: code `division_by_zero`, or `bad_request` for an unknown operator, an operand or result that is
    too large, not finite or not real.
    """
    operation = _OPERATIONS.get(op)
    if operation is None:
        raise CommandError(f"op: {op[:20]!r} is unknown; one of {' '.join(_OPERATIONS)}", code=BAD_REQUEST)
    for name, operand in (("a", a), ("b", b)):
        _check(name, operand)
    try:
        result = operation(a, b)
    except ZeroDivisionError:
        raise CommandError(f"division by zero: {_short(a)} {op} {_short(b)}", code=DIVISION_BY_ZERO) from None
    except OverflowError:
        raise CommandError(_too_large(), code=BAD_REQUEST) from None
    _check("result", result)
    return result


def _power(a: Number, b: Number) -> Number:
    is_integer = isinstance(a, int) and isinstance(b, int)
    if is_integer and (int(a).bit_length() - 1) * b > INTEGER_BITS_MAX:  # checked before it is computed
        raise OverflowError
    result: Number | complex = a**b
    if isinstance(result, complex):
        raise CommandError("result: not a real number: negative base, fractional exponent", code=BAD_REQUEST)
    return result


_OPERATIONS: Final[dict[str, Callable[[Number, Number], Number]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _power,
}


def _check(name: str, number: Number) -> None:
    if isinstance(number, int):
        if number.bit_length() > INTEGER_BITS_MAX:
            raise CommandError(f"{name}: over {INTEGER_BITS_MAX} bits, the maximum", code=BAD_REQUEST)
    elif not math.isfinite(number):
        raise CommandError(f"{name}: {number} is not a finite number", code=BAD_REQUEST)


def _too_large() -> str:
    return f"result: too large; integers have at most {INTEGER_BITS_MAX} bits, other numbers at most 1.8e308"


def _short(number: Number) -> str:
    text = str(number)
    return text if len(text) <= 20 else f"{text[:17]}..."
