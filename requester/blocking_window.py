"""Many calls with a window, as window.py, for a thread: it begins calls as there is room, and waits for any to end."""

from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Any

from .in_flight import InFlight


class QueuedWaiter:
    """Where one of many calls of a thread waits: once it has ended it is put into `ended`."""

    __slots__ = ("_ended", "_error", "_result", "is_done", "number", "request", "then")

    def __init__(self, number: int, ended: "SimpleQueue[QueuedWaiter]") -> None:
        self.number = number
        self._ended = ended
        self._result: Any = None
        self._error: BaseException | None = None
        self.is_done = False
        self.request: InFlight | None = None
        self.then: Callable[[object], object] | None = None
        """Called with the outcome, in the event loop."""

    def done(self) -> bool:
        """It has ended, or its outcome is no longer needed."""
        return self.is_done

    def set_result(self, result: Any, /) -> None:
        """It succeeded."""
        self._result = result
        self._end()

    def set_exception(self, exception: BaseException, /) -> None:
        """It failed."""
        self._error = exception
        self._end()

    def _end(self) -> None:
        self.is_done = True
        if self.then is not None:
            self.then(self.result)
        self._ended.put(self)

    @property
    def result(self) -> Any:
        """The result, or the error, or None while there is neither."""
        return self._result if self._error is None else self._error


def outcomes_of(
    begin: Callable[[Any, QueuedWaiter], object],
    abandon: Callable[[QueuedWaiter], object],
    items: Iterable[Any],
    *,
    concurrency: int,
    in_order: bool,
) -> Generator[Any]:
    """The result or the error of each call, in the order of `items` or as they come. `begin` begins the call of an
    item; if the iterator is closed early, or `items` raises, `abandon` ends those that run."""
    ended: SimpleQueue[QueuedWaiter] = SimpleQueue()
    running: dict[int, QueuedWaiter] = {}
    early: dict[int, QueuedWaiter] = {}
    left = enumerate(items)
    begun_count = taken_count = 0
    is_more = True
    try:
        while True:
            while is_more and begun_count - taken_count < concurrency:
                found = next(left, None)
                if found is None:
                    is_more = False
                    break
                number, item = found
                waiter = running[number] = QueuedWaiter(number, ended)
                begun_count += 1
                begin(item, waiter)
            if begun_count == taken_count:
                return
            next_one = early.pop(taken_count, None) if in_order else None
            while next_one is None:
                other = ended.get()
                if not in_order or other.number == taken_count:
                    next_one = other
                else:
                    early[other.number] = other
            del running[next_one.number]
            taken_count += 1
            yield next_one.result
    finally:
        for waiter in running.values():
            abandon(waiter)
