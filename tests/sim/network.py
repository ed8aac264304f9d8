"""A clock that jumps from event to event, and connections that delay, stall, fall silent and break.

One seed gives one run: all random numbers come from the `random.Random` that is passed in, and nothing reads a real
clock.
"""

import random
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, Protocol

LATENCY_S: Final = (0.0002, 0.05)
"""Bounds of the time that a message takes to cross a wire. Messages in one direction keep their order, as in TCP; those
on different wires can overtake each other."""
SILENCE_S: Final = (8.0, 8.5)
"""After what time a silent link is closed, as a real broker does."""

QUIET_S: Final = 4.0
"""After what time a silent link is noticed."""


class Clock:
    """The time in seconds, and the events to come."""

    def __init__(self) -> None:
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def call_at(self, at: float, call: Callable[[], None]) -> None:
        """Schedule `call`. Events at the same time happen in the order in which they were scheduled."""
        self._count += 1
        heappush(self._events, (max(at, self.now), self._count, call))

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.call_at(self.now + seconds, call)

    def run(self) -> None:
        """Run until no event is left."""
        while self._events:
            self.now, _, call = heappop(self._events)
            call()


class Endpoint(Protocol):
    """The program at one end of a wire."""

    def received(self, message: Any) -> None:
        """A message has arrived."""

    def lost(self) -> None:
        """The connection has closed. Nothing follows."""


class Wire:
    """One connection between a peer and the broker, and everything that can happen to it.

    The broker's side counts as a real link does: each message that it sends has a number, and `written_count` is how
    many of them have left the broker's process. Messages that are on the way when the wire breaks are lost.
    """

    def __init__(self, clock: Clock, chance: random.Random, peer: Endpoint, broker: Endpoint) -> None:
        self._clock = clock
        self._random = chance
        self._ends = {"peer": peer, "broker": broker}
        self._is_open = {"peer": True, "broker": True}
        self._last_arrival = {"peer": 0.0, "broker": 0.0}
        self._is_silent = False
        self._is_stalled = False
        self._unwritten: list[Any] = []
        self.sent_count = 0
        self.written_count = 0

    # --- messages ---

    def send_to_broker(self, message: Any) -> None:
        if self._is_open["peer"]:
            self._carry("broker", message)

    def send_to_peer(self, message: Any) -> int:
        """Send a message, which is written at the end of this instant unless the wire stalls. Returns its number."""
        if not self._is_open["broker"]:
            return self.sent_count + 1
        self.sent_count += 1
        self._unwritten.append(message)
        self._clock.call_later(0.0, self._flush)
        return self.sent_count

    def _flush(self) -> None:
        if self._is_stalled or not self._is_open["broker"]:
            return
        unwritten, self._unwritten = self._unwritten, []
        for message in unwritten:
            self.written_count += 1
            self._carry("peer", message)

    def _carry(self, to: str, message: Any) -> None:
        def arrive() -> None:
            if self._is_open[to] and not self._is_silent:
                self._ends[to].received(message)

        self._clock.call_at(self._arrival(to), arrive)

    def _arrival(self, to: str) -> float:
        at = max(self._last_arrival[to], self._clock.now + self._random.uniform(*LATENCY_S))
        self._last_arrival[to] = at
        return at

    # --- what can happen ---

    def stall(self, seconds: float) -> None:
        """The peer stops reading for a while: what the broker sends stays in the broker."""
        self._is_stalled = True

        def go_on() -> None:
            self._is_stalled = False
            self._flush()

        self._clock.call_later(seconds, go_on)

    def close(self, by: str) -> None:
        """One end closes. What it sent before still arrives; then the other end is notified."""
        if not self._is_open[by]:
            return
        self._is_open[by] = False
        other = "broker" if by == "peer" else "peer"
        self._clock.call_at(self._arrival(other), lambda: None if self._is_silent else self._lose(other))

    def fall_silent(self) -> None:
        """A cable is pulled: nothing arrives any more, and each end has to detect that."""
        self._is_silent = True
        self.find_silence(QUIET_S)
        for end in ("peer", "broker"):
            self._clock.call_later(self._random.uniform(*SILENCE_S), partial(self._lose, end))

    def find_silence(self, seconds: float) -> None:
        """After `seconds` the broker's end reports that nothing was received from the peer."""
        self._clock.call_later(seconds, self._report_silence)

    def _report_silence(self) -> None:
        if self._is_open["broker"] and self._is_silent:
            self._ends["broker"].received(("silence",))

    def _lose(self, end: str) -> None:
        if self._is_open[end]:
            self._is_open[end] = False
            self._ends[end].lost()
