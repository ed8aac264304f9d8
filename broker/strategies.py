"""The strategies that an operator can name: those built in, and those that other installed distributions register.

Knows entry points and what a strategy must be able to do. Knows neither where the names come from (settings), nor which
command will use which.
"""

import difflib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from ..loadbalance.registry import STRATEGIES, StrategyFactory

ENTRY_POINT_GROUP: Final = "taskferry.strategies"
"""Where a distribution registers its strategies: a name, and a factory as `StrategyFactory` says."""

STRATEGY_METHODS: Final = ("add", "remove", "changed", "pick")


class StrategyError(ValueError):
    """A strategy could not be loaded: one line that names it, its distribution, and what is wrong."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def strategy_factories(names: Iterable[str]) -> dict[str, StrategyFactory]:
    """The factory of each of `names`. A plugin is imported only if it is named, and then tried once.

    Raises StrategyError for an unknown name, for a plugin that cannot be loaded or makes no strategy, and, whether it
    is named or not, for a plugin whose name is registered twice or is that of a built-in strategy.
    """
    plugins = _plugins()
    factories: dict[str, StrategyFactory] = {}
    for name in names:
        if name in STRATEGIES:
            factories[name] = STRATEGIES[name]
        elif name in plugins:
            factories[name] = _load(plugins[name])
        else:
            known = (*STRATEGIES, *sorted(plugins))
            near = difflib.get_close_matches(name, known, n=1)
            text = f"{name!r} is unknown; one of {', '.join(known)}"
            raise StrategyError(name, text + (f"; did you mean {near[0]}?" if near else ""))
    return factories


def _plugins() -> dict[str, EntryPoint]:
    plugins: dict[str, EntryPoint] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        name = entry_point.name
        if name in STRATEGIES:
            text = f"{_described(entry_point)} has the name of a built-in one; rename or uninstall it"
            raise StrategyError(name, text)
        other = plugins.setdefault(name, entry_point)
        if other is not entry_point:
            text = f"{_described(entry_point)} is registered by {_distribution_of(other)} too; uninstall one"
            raise StrategyError(name, text)
    return plugins


def _load(entry_point: EntryPoint) -> StrategyFactory:
    try:
        factory: Any = entry_point.load()
        strategy = factory(lambda: 0.0)
    except Exception as error:  # a plugin may do anything when it is imported
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        text = f"{_described(entry_point)} cannot be loaded: {reason}"
        raise StrategyError(entry_point.name, text) from None
    missing = [method for method in STRATEGY_METHODS if not callable(getattr(strategy, method, None))]
    if missing:
        text = f"{_described(entry_point)} is not a strategy: it has no method {', '.join(missing)}"
        raise StrategyError(entry_point.name, text)
    made: StrategyFactory = factory
    return made


def _described(entry_point: EntryPoint) -> str:
    return f"{entry_point.name!r} of {_distribution_of(entry_point)} ({entry_point.value})"


def _distribution_of(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    assert distribution is not None, "entry_points() sets it"
    return f"{distribution.name} {distribution.version}"
