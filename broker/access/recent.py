"""Objects by name that are kept while they are in use, and for as long as there is room afterwards.

Peers choose the names, so their number is unbounded. The one that has been out of use longest is forgotten first, in
constant time. That forgives little: as many others must have been used since.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """`idle_count_max`: objects out of use that are kept. Those in use must be bounded by what uses them."""

    __slots__ = ("_idle", "_idle_count_max", "_in_use")

    def __init__(self, idle_count_max: int) -> None:
        self._idle_count_max = idle_count_max
        self._in_use: dict[str, T] = {}
        self._idle: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._in_use) + len(self._idle)

    def __iter__(self) -> Iterator[T]:
        return iter([*self._in_use.values(), *self._idle.values()])

    def find(self, name: str) -> T | None:
        """The object of this name, now the last to be forgotten; None if there is none."""
        item = self._in_use.get(name)
        if item is None and name in self._idle:
            self._idle.move_to_end(name)
            item = self._idle[name]
        return item

    def add(self, name: str, item: T) -> None:
        """Keep an object, which is not in use yet. The name must be new."""
        self._idle[name] = item
        if len(self._idle) > self._idle_count_max:
            self._idle.popitem(last=False)

    def use(self, name: str, item: T) -> None:
        """It is in use now. If it was forgotten since it was found, and another one took its name and is in
        use, that one stays."""
        if name not in self._in_use:
            self._idle.pop(name, None)
            self._in_use[name] = item

    def release(self, name: str, item: T) -> None:
        """It is in use no longer."""
        if self._in_use.get(name) is item:
            del self._in_use[name]
            self.add(name, item)
