"""Weights as whole numbers, for strategies that sum them: no rounding error builds up over years."""

from typing import Final

WEIGHT_SCALE: Final = 10_000
"""Integer units of weight 1. The lightest weight an operator may set, 0.01, is 100 of them, so steps of 1 % can be
distinguished."""


def units_of(weight: float) -> int:
    """`weight` in units, at least 1: a worker that starts slowly from next to nothing still has a share."""
    return round(weight * WEIGHT_SCALE) or 1
