"""Long work in the event loop, in slices between which everything else goes on."""

import asyncio
import time
from typing import Final

SLICE_S: Final = 0.002
"""How long such work goes on without giving way, plus one step: a request that arrives meanwhile waits that long."""


class Slices:
    """The slices of one piece of work. Call `give_way` after each step, which should take a fraction of SLICE_S."""

    __slots__ = ("_give_way_at",)

    def __init__(self) -> None:
        self._give_way_at = time.monotonic() + SLICE_S

    async def give_way(self) -> None:
        """Let everything else run, if the slice is over."""
        if time.monotonic() >= self._give_way_at:
            await asyncio.sleep(0)
            self._give_way_at = time.monotonic() + SLICE_S
