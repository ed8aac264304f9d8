"""Which strategy a command uses: patterns over commands, and a default for all others."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from .registry import StrategyFactory
from .strategy import Chance, Strategy


class StrategyChoice:
    """Names a command's strategy, so that commands with the same name and the same workers can share one strategy
    object.

    `patterns`: command pattern to strategy name, tried in order; `*`, `?` and `[...]` as in Python's `fnmatch`,
    case-sensitive. `factories` must have `default` and every name of `patterns`.
    """

    __slots__ = ("_chance", "_default", "_factories", "_patterns")

    def __init__(
        self,
        default: str,
        patterns: Mapping[str, str],
        factories: Mapping[str, StrategyFactory],
        chance: Chance,
    ) -> None:
        self._default = default
        self._patterns = tuple(patterns.items())
        self._factories = factories
        self._chance = chance

    def name_for(self, command: str) -> str:
        """The strategy of the first pattern that matches `command`, else the default. O(patterns): call once a
        command."""
        for pattern, name in self._patterns:
            if fnmatchcase(command, pattern):
                return name
        return self._default

    def make(self, name: str) -> Strategy[Any]:
        """A new, empty strategy. Raises KeyError if the factories do not have `name`."""
        return self._factories[name](self._chance)
