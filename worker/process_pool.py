"""Processes for handlers that keep a core busy: one for each place, started when first needed, and replaced.

A process is replaced when it dies, when its handler is cancelled or too late, and after a number of calls if there is a
bound. What happens in it is in handler_process.py, how it is watched in process_place.py.

Pebble and loky were looked at. In loky, as in the standard library, the death of one process fails the calls of all.
Pebble replaces one process, but all of them share one pipe and its locks, which one that is killed while it holds them
takes with it; and it has three threads, two of which poll.
"""

import asyncio
import time
from collections.abc import Callable

from . import limits
from .failure import describe_exception
from .handler_process import EXPIRED, ProcessReport
from .process_place import Place


class RunningCall:
    """A call that waits for a process or has one, until `reported` is called in the event loop, once; before that,
    `said` is called with each message about a chunk or progress, and raises if it may not be sent.

    `payload` is kept to the end, because a process may die before it has read it. `is_cancelled`: its result is not
    needed. Then the report says nothing.
    """

    __slots__ = ("_pool", "is_cancelled", "payload", "reported", "said")

    def __init__(
        self,
        pool: "ProcessPool",
        payload: bytes,
        said: Callable[[bytes], None],
        reported: Callable[[ProcessReport], None],
    ) -> None:
        self._pool = pool
        self.payload = payload
        self.said = said
        self.reported = reported
        self.is_cancelled = False

    def cancel(self) -> None:
        """End it: at once if it waits, otherwise its handler is interrupted, and its process killed a little later.
        Does nothing if it has ended."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._pool.cancel(self)

    def credit(self, sequence: int) -> None:
        """The broker has taken its chunks up to this one."""
        self._pool.credit(self, sequence)


class ProcessPool:
    """At most `count_max` processes, each for at most `calls_count_max` calls, if that is not None."""

    __slots__ = ("_calls", "_calls_count_max", "_idle", "_is_closing", "_places", "_waiting", "count_max")

    def __init__(self, count_max: int, calls_count_max: int | None = None) -> None:
        self.count_max = count_max
        self._calls_count_max = calls_count_max
        self._is_closing = False
        self._places: dict[Place, RunningCall | None] = {}
        """All processes that have not ended, with what they run."""
        self._calls: dict[RunningCall, Place] = {}
        self._idle: list[Place] = []
        """The last to become free is the next to be used."""
        self._waiting: dict[RunningCall, None] = {}

    def submit(
        self, payload: bytes, said: Callable[[bytes], None], reported: Callable[[ProcessReport], None]
    ) -> RunningCall:
        """Run a packed call in the next free process. `said` and `reported` are called later, in the event loop.

        Raises OSError if no process can be started.
        """
        running = RunningCall(self, payload, said, reported)
        place = self._pop_idle()
        if place is not None:
            self._give(place, running)
        elif len(self._places) < self.count_max:
            self._give(self._start(), running)
        else:
            self._waiting[running] = None
        return running

    def cancel(self, call: RunningCall) -> None:
        """See RunningCall.cancel."""
        if call in self._waiting:
            del self._waiting[call]
            asyncio.get_running_loop().call_soon(call.reported, EXPIRED)
        elif call in self._calls:
            self._calls[call].cancel()

    def credit(self, call: RunningCall, sequence: int) -> None:
        """See RunningCall.credit."""
        if call in self._calls:
            self._calls[call].credit(sequence)

    def close(self) -> None:
        """End the processes at once, whatever they are doing, and wait for that a little. What ran or waited is
        reported as lost or expired. A later `submit` starts new ones."""
        self._is_closing = True
        waiting, self._waiting = tuple(self._waiting), {}
        for call in waiting:
            call.reported(EXPIRED)
        for call in self._calls:
            call.is_cancelled = True
        places = tuple(self._places)
        for place in places:
            place.kill()
        ends_at = time.monotonic() + limits.PROCESSES_CLOSING_S_MAX
        for place in places:
            place.join(max(0.0, ends_at - time.monotonic()))
        self._is_closing = False

    def _pop_idle(self) -> Place | None:
        """A process that is free; one that has closed its channel is about to end, and gets nothing more."""
        while self._idle:
            place = self._idle.pop()
            if place.is_usable:
                return place
        return None

    def _start(self) -> Place:
        place = Place(self._said, self._reported, self._ended)
        self._places[place] = None
        return place

    def _give(self, place: Place, call: RunningCall) -> None:
        self._places[place] = call
        self._calls[call] = place
        place.run(call.payload)

    def _said(self, place: Place, message: bytes) -> None:
        call = self._places[place]
        if call is not None and call.is_cancelled:
            return
        try:
            if call is None:
                raise ValueError("nothing runs there")
            call.said(message)
        except Exception:  # a handler has written to the channel
            place.kill()

    def _reported(self, place: Place, report: ProcessReport) -> None:
        call = self._places[place]
        if call is None:  # a handler has written to the channel
            place.kill()
            return
        self._places[place] = None
        del self._calls[call]
        if call.is_cancelled:
            place.kill()
        elif place.calls_count == self._calls_count_max:
            place.retire()
        else:
            self._use(place)
        call.reported(EXPIRED if call.is_cancelled else report)

    def _use(self, place: Place) -> None:
        """A process is free."""
        if self._waiting:
            call = next(iter(self._waiting))
            del self._waiting[call]
            self._give(place, call)
        else:
            self._idle.append(place)

    def _ended(self, place: Place) -> None:
        """A process is gone: report that to what ran in it, and start another one."""
        call = self._places.pop(place)
        was_idle = place in self._idle
        if was_idle:
            self._idle.remove(place)
        if call is not None:
            del self._calls[call]
            if place.is_ready and place.is_call_unread and not call.is_cancelled:
                # It was idle when it died, and that was not known yet. The call has not run: it is the next to run.
                self._waiting = {call: None, **self._waiting}
                call = None
        # One that has never been ready, or dies while it is idle, may do so again: then only a call starts another.
        if not self._is_closing and (self._waiting or (place.is_ready and not was_idle)):
            self._replace()
        if call is not None:
            call.reported(EXPIRED if call.is_cancelled else _lost(place))

    def _replace(self) -> None:
        try:
            place = self._start()
        except Exception as error:  # whatever it is: what waits must end
            if self._places:
                return  # what waits gets one of the others
            reason = describe_exception(error)
            report = ProcessReport(error=f"No process could be started for the handler: {reason}")
            waiting, self._waiting = tuple(self._waiting), {}
            for call in waiting:
                call.reported(report)
        else:
            self._use(place)


def _lost(place: Place) -> ProcessReport:
    if place.is_ready:
        return ProcessReport(how=place.how, is_lost=True)
    return ProcessReport(how=f"{place.how} before it was ready")
