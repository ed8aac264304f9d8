"""Weights in whole units: the lightest still counts, and steps of one percent are distinguished."""

from taskferry.loadbalance.weight import WEIGHT_SCALE, units_of


def test_units() -> None:
    assert [units_of(weight) for weight in (0.01, 0.0101, 1.0, 2.5, 100.0)] == [
        100,
        101,
        WEIGHT_SCALE,
        25_000,
        1_000_000,
    ]


def test_even_less_than_a_unit_counts() -> None:
    assert [units_of(weight) for weight in (1e-9, 0.00005, 0.0001)] == [1, 1, 1]
