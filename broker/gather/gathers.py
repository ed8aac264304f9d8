"""All gathers of a broker: which may begin, and what is due of each in one turn of the event loop."""

from collections.abc import Callable
from typing import Final

from ...protocol import errors
from ...protocol.gather_messages import Gather as Wish
from ...protocol.limits import GATHER_COUNT_MAX
from ..core.call import BUDGET_S_MIN, Call
from ..core.delivery.failures import SHUTTING_DOWN
from ..core.failure import Failure
from ..core.requester import Requester
from .gather import Gather
from .ports import Asker, Calls

OPEN_COUNT_MAX: Final = 100
"""Gathers of one connection that have not been answered: each may hold as many bytes as a message has."""

ASKED_COUNT_MAX: Final = 100_000
"""Workers in all gathers of the broker together: as many as requests may wait for a slot."""

HELD_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of items that are held for answers, in all gathers of the broker: as much as may wait for one peer."""

PROCEEDED_COUNT_MAX: Final = 250
"""Calls that are made or cancelled in one turn of the event loop: some milliseconds. The rest follows in the next
turns, so that a gather over thousands of workers delays no other request."""

RETRY_AFTER_S: Final = 1.0
"""Sent to a requester that may not begin another gather: one can end at any moment."""


class Gathers:
    """`data_size_bytes_max`: of one answer. `wake` arranges for a call of `turn_ended`, soon. `asked_count` workers are
    in gathers that have not been answered, for which `held_size_bytes` of items are held."""

    __slots__ = (
        "_by_asker",
        "_calls",
        "_data_size_bytes_max",
        "_due",
        "_wake",
        "asked_count",
        "held_size_bytes",
    )

    def __init__(self, calls: Calls, data_size_bytes_max: int, wake: Callable[[], None]) -> None:
        self._calls = calls
        self._data_size_bytes_max = data_size_bytes_max
        self._wake = wake
        self._by_asker: dict[Asker, dict[str, Gather]] = {}
        self._due: dict[Gather, None] = {}
        self.asked_count = 0
        self.held_size_bytes = 0

    def of(self, asker: Asker) -> dict[str, Gather]:
        """The gathers of one requester that have not been answered, by request_id. It stays the same dictionary until
        that requester leaves."""
        return self._by_asker.setdefault(asker, {})

    def open(
        self, asker: Asker, requester: Requester, call: Call, wish: Wish, now: float, *, streams: bool
    ) -> Failure | None:
        """Begin a gather: `call` on each worker that serves its command and matches its target, for `asker`, which
        is `requester` to the core. Its request_id is that of no other gather of `asker`. The failure if it does not
        begin."""
        if self._calls.is_draining:
            return SHUTTING_DOWN._replace(delivery=errors.NOT_DELIVERED)
        gathers = self.of(asker)
        worker_ids = self._calls.worker_ids(call.command, call.target)
        if not worker_ids:
            return self._calls.lack(requester, call, now)._replace(delivery=errors.NOT_DELIVERED)
        refusal = self._refusal(len(gathers), len(worker_ids))
        if refusal is not None:
            return refusal
        timeout_s = self._calls.settings.timeout_s if call.timeout_s is None else call.timeout_s
        gather = Gather(
            self._calls,
            self,
            asker,
            call,
            wish,
            worker_ids,
            now,
            timeout_s=max(timeout_s, BUDGET_S_MIN),
            streams=streams,
            size_bytes_max=self._data_size_bytes_max,
        )
        if not gather.fits:
            text = (
                f"gather: the items of {len(worker_ids)} workers do not fit into one answer of "
                f"{self._data_size_bytes_max} bytes: say stream: true, or a target"
            )
            return _refused(errors.TooLarge, text)
        gathers[call.request_id] = gather
        self.asked_count += len(worker_ids)
        gather.begin(requester.account)
        self.wake(gather)
        return None

    @property
    def open_count(self) -> int:
        """Gathers that have not been answered."""
        return sum(len(gathers) for gathers in self._by_asker.values())

    def left(self, asker: Asker) -> None:
        """A requester has left: nothing of it is wanted any more."""
        for gather in tuple(self._by_asker.get(asker, {}).values()):
            gather.abandon()
        self._by_asker.pop(asker, None)

    def stop(self) -> None:
        """The broker stops: answer all with what there is."""
        for gathers in self._by_asker.values():
            for gather in tuple(gathers.values()):
                gather.stop()

    def turn_ended(self, now: float) -> None:
        """Do what is due, in no call of the core."""
        left_count = PROCEEDED_COUNT_MAX
        due, self._due = self._due, {}
        for gather in due:
            count = gather.proceed(left_count, now) if left_count else 0
            if count == left_count:
                self._due.setdefault(gather)
            left_count -= count
        if self._due:
            self._wake()

    # --- what a gather does ---

    def hold(self, size_bytes: int) -> bool:
        """See Home."""
        if self.held_size_bytes + size_bytes > HELD_SIZE_BYTES_MAX:
            return False
        self.held_size_bytes += size_bytes
        return True

    def wake(self, gather: Gather) -> None:
        """See Home."""
        self._due[gather] = None
        self._wake()

    def ended(self, gather: Gather, held_size_bytes: int) -> None:
        """See Home."""
        del self._by_asker[gather.asker][gather.call.request_id]
        self.asked_count -= len(gather.worker_ids)
        self.held_size_bytes -= held_size_bytes
        self.wake(gather)

    # --- inside ---

    def _refusal(self, open_count: int, workers_count: int) -> Failure | None:
        if workers_count > GATHER_COUNT_MAX:
            text = f"gather: {workers_count} workers, at most {GATHER_COUNT_MAX} (GATHER_COUNT_MAX): say a target"
            return _refused(errors.TooLarge, text)
        if open_count >= OPEN_COUNT_MAX:
            text = f"{open_count} gathers are in flight on this connection (OPEN_COUNT_MAX)"
            return _refused(errors.Overloaded, text, RETRY_AFTER_S)
        if self.asked_count + workers_count > ASKED_COUNT_MAX:
            text = f"all gathers together have over {ASKED_COUNT_MAX} workers (ASKED_COUNT_MAX)"
            return _refused(errors.Overloaded, text, RETRY_AFTER_S)
        return None


def _refused(error: type[errors.TaskferryError], text: str, retry_after_s: float | None = None) -> Failure:
    return Failure(error.code, text, retry_after_s, errors.NOT_DELIVERED)
