"""Runs an experiment smaller and checks its bounds.

A short run scatters more than a long one: if that breaks a bound which `make simulate` keeps, the test says which wider
one it uses and why. Everything else is the same: code, bounds and seeds.
"""

from dataclasses import replace

from benchmarks.simulation.experiment import Bound, Experiment, Result, broken


def check(
    experiment: Experiment, *, seed: int, scale: float, wider: dict[str, tuple[float, float]]
) -> Result:
    """Run one seed at `scale`; `wider` are the bounds, lowest and highest, that replace the experiment's by figure."""
    assert wider.keys() <= {bound.figure for bound in experiment.bounds}
    bounds: list[Bound] = []
    for bound in experiment.bounds:
        low, high = wider.get(bound.figure, (bound.low, bound.high))
        assert low <= bound.low, "wider, not narrower"
        assert high >= bound.high, "wider, not narrower"
        bounds.append(replace(bound, low=low, high=high))
    result = experiment.run(seed, scale)
    failures = broken(bounds, result)
    assert not failures, "; ".join(failures)
    return result
