"""Damaged copies of good inputs: bytes changed, cut out, doubled, and put together from two.

Knows bytes, and words that the reader under test knows. Must not know what any of them means.
"""

import random
from collections.abc import Sequence
from typing import Final

SIZE_BYTES_MAX: Final = 4000
"""Of one input: enough for dozens of blocks, and less than the digits of a number that Python does not read (4,300)."""
POOL_COUNT_MAX: Final = 2000
"""Inputs kept because they were answered in a new way: when there are more, the oldest goes."""


class Mutator:
    """Draws inputs made from `seeds` and from what `keep` has added. The same `seed` draws the same inputs."""

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> None:
        self._seeds = list(seeds)
        self._kept: list[bytes] = []
        self._words = words
        self._chance = random.Random(seed)

    def keep(self, data: bytes) -> None:
        """Make further inputs from `data` too."""
        self._kept.append(data)
        del self._kept[:-POOL_COUNT_MAX]

    def draw(self) -> bytes:
        """One input of at most SIZE_BYTES_MAX."""
        chance = self._chance
        data = bytearray(self._one())
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 9))):
            self._damage(data)
        return bytes(data[:SIZE_BYTES_MAX])

    def _one(self) -> bytes:
        pool = self._kept if self._kept and self._chance.random() < 0.6 else self._seeds
        return self._chance.choice(pool)

    def _damage(self, data: bytearray) -> None:
        chance = self._chance
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((1, 1, 2, 4, 8, 64, 65)))
        match chance.randrange(8):
            case 0 if start < len(data):
                data[start] ^= 1 << chance.randrange(8)
            case 1 if start < len(data):
                data[start] = chance.randrange(256)
            case 2:
                data[start:start] = chance.choice(self._words)
            case 3:
                data[start:end] = chance.choice(self._words)
            case 4:
                del data[start:end]
            case 5:
                data[start:start] = data[start:end] * chance.choice((1, 2, 16, 64))
            case 6:
                other = self._one()
                data[start:] = other[chance.randrange(len(other) + 1) :]
            case _:
                del data[start:]
