"""Weights as whole numbers, for strategies that add them up: no rounding error builds up over years.

Knows the scale alone. Must not know what a strategy does with the units.
"""

from typing import Final

WEIGHT_SCALE: Final = 10_000
"""Integer units of weight 1. The lightest weight an operator may set, 0.01, is 100 of them, so steps of 1 % can be told
apart."""


def units_of(weight: float) -> int:
    """`weight` in units, 1 at least: a worker that is eased in from next to nothing still has a share."""
    return round(weight * WEIGHT_SCALE) or 1
