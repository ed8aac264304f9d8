"""Where gathers meet the broker: the pure `Gathers`, in the event loop, with its clock and the core's timer."""

import asyncio
import time

from .core.core import Core
from .core_timer import CoreTimer
from .gather.gathers import Gathers


class GatherDesk:
    """Serves the sessions of one broker, in one event loop. `gathers` is for them."""

    def __init__(self, core: Core, timer: CoreTimer, data_size_bytes_max: int) -> None:
        self._core = core
        self._timer = timer
        self._is_turn_due = False
        self.gathers = Gathers(core, data_size_bytes_max, self._wake)

    def _wake(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_turn_due = False
        self.gathers.turn_ended(time.monotonic())
        if self._core.next_at < self._timer.wakes_at:
            self._timer.wake_at(self._core.next_at)
