"""Which strategy a command uses: patterns over commands, and a default for all the others.

Knows commands, patterns, and factories by name. Must not know where the names came from (settings, plugins), nor what
a strategy does.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from .registry import StrategyFactory
from .strategy import Chance, Strategy


class StrategyChoice:
    """Answers by name, so that commands with the same answer can share one strategy object where they share workers.

    `patterns`: command pattern to strategy name, tried in order; `*`, `?` and `[...]` as in Python's `fnmatch`, upper
    and lower case told apart. `factories` must have `default` and every name of `patterns`.
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
        """The strategy of the first pattern that fits `command`, else the default. O(patterns): ask once a command."""
        for pattern, name in self._patterns:
            if fnmatchcase(command, pattern):
                return name
        return self._default

    def make(self, name: str) -> Strategy[Any]:
        """A new and empty strategy. Raises KeyError where the factories do not have `name`."""
        return self._factories[name](self._chance)
