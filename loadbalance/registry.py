"""The strategies by the names that operators use. A new one is a file, and a line here."""

from collections.abc import Callable
from typing import Any, Final

from .consistent_hash import ConsistentHash
from .latency_aware import LatencyAware
from .least_loaded import LeastLoaded
from .power_of_two import PowerOfTwo
from .random import Random
from .round_robin import RoundRobin
from .strategy import Chance, Strategy
from .weighted_random import WeightedRandom
from .weighted_round_robin import WeightedRoundRobin

StrategyFactory = Callable[[Chance], Strategy[Any]]
"""Makes an empty strategy; each group of workers gets its own."""

STRATEGY_DEFAULT: Final = "least_loaded"

STRATEGIES: Final[dict[str, StrategyFactory]] = {
    "least_loaded": lambda chance: LeastLoaded(),
    "round_robin": lambda chance: RoundRobin(),
    "random": Random,
    "weighted_random": WeightedRandom,
    "weighted_round_robin": lambda chance: WeightedRoundRobin(),
    "power_of_two": PowerOfTwo,
    "latency_aware": LatencyAware,
    "consistent_hash": lambda chance: ConsistentHash(),
}

BLIND_TO_AFFINITY: Final = frozenset(STRATEGIES) - {"consistent_hash"}
"""Those for which a request's affinity key makes no difference. A strategy by entry point may use it."""
