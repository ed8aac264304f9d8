"""A strategy that is brought up to date when it is asked, instead of with each assignment of its workers.

Otherwise an assignment would cost more with each pool of its worker, and workers with crossed lists of commands can
divide a thousand commands into a thousand pools.

A pick sees the workers that have changed last, and the one that it picks as it is. It sees all that have changed if
they are few, if nothing else is left to be picked, and after so many picks that it is paid for. So what a pick costs
does not grow with the workers; and if more of them change between two picks, it may not find the very best one.
"""

from typing import TYPE_CHECKING, Any, Final

from ....loadbalance.strategy import Strategy
from .changes import Changes
from .worker import Worker

if TYPE_CHECKING:
    from .pool import Pool

SEEN_COUNT_MAX: Final = 8
"""Workers that one pick brings up to date because they have changed last; as many because they would be picked, and as
many, on average, so that all are at some time: some 20 microseconds. If two hundred workers have a thousand lazy pools,
all equally used, the numbers of their assignments then deviate by 0.7 from the mean, and by 0.1 in ordinary pools."""

Load = tuple[int, float, float]


class Lazy:
    """In place of the strategy of `pool`, which is `strategy`: that holds the workers of `held`, which were eligible
    with a free slot when they were last brought up to date, and had these loads."""

    __slots__ = ("_changes", "_held", "_is_outdated", "_picks_count", "_pool", "_seen", "_strategy")

    def __init__(self, pool: "Pool", strategy: Strategy[Any], changes: Changes) -> None:
        self._strategy: Strategy[Worker] = strategy
        self._pool = pool
        self._changes = changes
        self._held: dict[Worker, Load] = {}
        self._is_outdated = False
        self._seen = changes.count
        """The last change before which all were seen."""
        self._picks_count = 0
        """Picks that have not seen all."""

    def take_over(self, worker: Worker) -> None:
        """The strategy holds this worker already, and it has not changed."""
        self._held[worker] = _load_of(worker)

    def outdate(self) -> None:
        """Any of the pool's members may have become eligible, or not."""
        self._is_outdated = True

    def remove(self, worker: Worker) -> None:
        """The pool has a member less."""
        if self._held.pop(worker, None) is not None:
            self._strategy.remove(worker)

    def pick(self, affinity: str | None) -> Worker | None:
        is_complete = self._see_latest()
        worker = self._pick_current(affinity)
        if worker is None and not is_complete:
            self.refresh()
            worker = self._pick_current(affinity)
        return worker

    def refresh(self) -> None:
        """Bring the strategy up to date."""
        members, changes = self._pool.members, self._changes
        changed = list(members) if self._is_outdated else changes.among(members, self._seen)
        self._has_seen_all()
        for worker in changed:
            self._see(worker)

    def _see_latest(self) -> bool:
        """Bring the strategy up to date as far as a pick may cost. True if it is."""
        changes, members = self._changes, self._pool.members
        is_paid_for = self._picks_count > 0 and self._picks_count * SEEN_COUNT_MAX >= len(members)
        if self._is_outdated or is_paid_for:
            self.refresh()
            return True
        latest = changes.latest(self._seen, SEEN_COUNT_MAX + 1)
        is_complete = len(latest) <= SEEN_COUNT_MAX
        if is_complete:
            self._has_seen_all()
        else:
            self._picks_count += 1
        for worker in latest:
            if worker in members:
                self._see(worker)
        return is_complete

    def _has_seen_all(self) -> None:
        self._seen = self._changes.count
        self._picks_count = 0
        self._is_outdated = False

    def _pick_current(self, affinity: str | None) -> Worker | None:
        """The strategy's pick, once that has not changed; or after so many, once that is free."""
        seen_count = 0
        while (worker := self._strategy.pick(affinity)) is not None:
            is_current = self._held[worker] == _load_of(worker)
            if self._is_free(worker) and (is_current or seen_count >= SEEN_COUNT_MAX):
                return worker
            self._see(worker)
            seen_count += 1
        return None

    def _see(self, worker: Worker) -> None:
        held = self._held
        is_held = worker in held
        if self._is_free(worker):
            held[worker] = _load_of(worker)
            if is_held:
                self._strategy.changed(worker)
            else:
                self._strategy.add(worker)
        elif is_held:
            del held[worker]
            self._strategy.remove(worker)

    def _is_free(self, worker: Worker) -> bool:
        return worker.in_flight_count < worker.capacity and self._pool.takes(worker)


def _load_of(worker: Worker) -> Load:
    return worker.in_flight_count, worker.weight, worker.speed
