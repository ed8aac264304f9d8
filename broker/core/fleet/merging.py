"""Finds pools that have come to have the same workers, so that they become one again; in the background, because there
may be a thousand pools of a thousand workers.

Each worker has a number like a hash, and a pool the exclusive or of those of its members: equal for equal sets, however
they came about, and updated in one step. Source: Zobrist, "A New Hashing Method with Application for Game Playing"
(1970). Whether the members are the same is then compared.
"""

from typing import Final

from .pool import Pool

STEPS_COUNT_MAX: Final = 2000
"""Members that are looked at, or removed, in one check, plus the pool that reaches it: well under a millisecond."""

Key = tuple[str, int, int]


class Merging:
    """Notify it of every pool that is made or changes its members."""

    __slots__ = ("_changed", "_keys", "_pools")

    def __init__(self) -> None:
        self._changed: dict[Pool, None] = {}
        self._pools: dict[Key, Pool] = {}
        self._keys: dict[Pool, Key] = {}

    def changed(self, pool: Pool) -> None:
        """A pool is new, has other members, or has lost its last one."""
        self._changed[pool] = None

    def clear(self) -> None:
        """All pools are gone."""
        self._changed.clear()
        self._pools.clear()
        self._keys.clear()

    def look(self) -> None:
        """Merge some of the pools that have changed."""
        steps_count = 0
        while self._changed and steps_count < STEPS_COUNT_MAX:
            pool = next(iter(self._changed))
            del self._changed[pool]
            steps_count += 1 + self._settle(pool)

    def _settle(self, pool: Pool) -> int:
        """Returns how many members were looked at."""
        before = self._keys.pop(pool, None)
        if before is not None and self._pools.get(before) is pool:
            del self._pools[before]
        if not pool.members or pool.is_targeted:
            return 0
        key = (pool.routes[0].command.strategy, pool.mark, len(pool.members))
        twin = self._pools.get(key)
        if twin is None or twin.members.keys() != pool.members.keys():
            self._pools[key] = pool
            self._keys[pool] = key
            return 0 if twin is None else len(pool.members)
        twin.absorb(pool)
        return len(twin.members)
