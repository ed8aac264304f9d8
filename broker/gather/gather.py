"""One gather: which workers have been asked, what they have answered, and when that is all.

    begin -> submit ... (core) ... succeed, fail -> _end_at -> submit the next ... -> _finish, once

The core calls `succeed` and `fail`, in which nothing may be asked of it: what is due then is done in `proceed`.
"""

from collections import deque
from itertools import islice
from typing import Final

from msgspec import UNSET, Raw, UnsetType

from ...protocol import errors
from ...protocol.codec import CODECS
from ...protocol.encodings import Encoding
from ...protocol.gather_messages import Gather as Wish
from ...protocol.gather_messages import Gathered, Item, ItemMessage
from ...protocol.messages import Response
from ...protocol.transcode import transcode
from ..core.account import Account
from ..core.call import BUDGET_S_MIN, Call
from ..core.delivery.failures import CANCELLED
from ..core.failure import Failure
from ..core.ports import Piece
from ..core.requester import Requester
from .expectation import count_of
from .ports import Asker, Calls, Home

SENT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a gather's data, what may be with workers at once: as much as may wait for one peer. Large data to many workers
goes out in batches, so that links do not hold a copy for each of them."""

ANSWER_SIZE_BYTES: Final = 256
"""Room in an answer for everything but items and missing workers."""

LEFT: Final = "Worker lost before it got the request"
NO_ROOM: Final = "Too large for what is left of the answer"
HELD: Final = "Too much is held for gathers (HELD_SIZE_BYTES_MAX)"

LEAST_SIZE_BYTES: Final = {
    encoding: 1
    + max(
        len(codec.encode(Item("", False, codec.null, text, code, errors.MAY_HAVE_RUN)))
        for text, code in ((NO_ROOM, errors.TooLarge.code), (HELD, errors.Overloaded.code))
    )
    for encoding, codec in CODECS.items()
}
"""What the answer has for one worker in any case, but its name: an item that says why there is no data."""


class Gather:
    """A requester port of the core, with one call for each of `worker_ids`.

    `call` is what the requester wants, with a `timeout_s`; its data is in the encoding of `asker`. Items are sent as
    they come if it `streams`; otherwise the answer has them, in `size_bytes_max` at most.
    """

    __slots__ = (
        "_batch_count",
        "_calls",
        "_codec",
        "_deadline",
        "_ended",
        "_held_size_bytes",
        "_home",
        "_is_all",
        "_items",
        "_needed_count",
        "_requester",
        "_room_size_bytes",
        "_running",
        "_sequence",
        "_size_bytes_max",
        "_streams",
        "_succeeded_count",
        "_waiting",
        "asker",
        "call",
        "encoding",
        "is_over",
        "worker_ids",
    )

    def __init__(  # noqa: PLR0917  a gather is all of these
        self,
        calls: Calls,
        home: Home,
        asker: Asker,
        call: Call,
        wish: Wish,
        worker_ids: list[str],
        now: float,
        *,
        timeout_s: float,
        streams: bool,
        size_bytes_max: int,
    ) -> None:
        self.call = call
        self.worker_ids = worker_ids
        self.encoding: Encoding = asker.encoding
        self.is_over = False
        """It has been answered, or nobody wants its answer."""
        self.asker = asker
        self._calls = calls
        self._home = home
        self._codec = CODECS[asker.encoding]
        self._deadline = now + timeout_s
        self._streams = streams
        self._size_bytes_max = size_bytes_max
        count = len(worker_ids)
        self._is_all = wish.expect == "all"
        self._needed_count = count_of(wish.expect, count)
        self._batch_count = count if wish.batch is None else count_of(wish.batch, count)
        if len(call.data):
            self._batch_count = min(self._batch_count, max(1, SENT_SIZE_BYTES_MAX // len(call.data)))
        self._waiting = deque(range(count))
        self._running: dict[str, int] = {}
        self._ended: set[int] = set()
        self._items: list[Raw] = []
        self._sequence = 0
        self._succeeded_count = 0
        self._held_size_bytes = 0
        self._room_size_bytes = size_bytes_max - ANSWER_SIZE_BYTES
        if not streams:
            self._room_size_bytes -= sum(self._least_size_bytes(worker_id) for worker_id in worker_ids)
        self._requester: Requester | None = None

    @property
    def fits(self) -> bool:
        """An answer has room for an item of each worker, if none says much."""
        return self._room_size_bytes >= 0

    def begin(self, account: Account) -> None:
        """Its calls count against this account. Then call `proceed`."""
        self._requester = self._calls.requester_joined(self, account, names_workers=True)

    def proceed(self, count_max: int, now: float) -> int:
        """Make the calls that are due, or cancel those that are not needed, at most so many. Returns how many it was;
        if it was that many, there may be more."""
        requester = self._requester
        count = 0
        if requester is None:
            return count
        if not self.is_over and self._waiting and now >= self._deadline:
            self._finish()
        while not self.is_over and count < count_max and self._may_submit:
            count += 1
            self._submit(requester, self._waiting.popleft(), now)
        if self.is_over:
            for request_id in list(islice(requester.requests, count_max - count)):
                count += 1
                self._calls.cancel(requester, request_id, now)
            if not requester.requests:
                self._requester = None
                self._calls.requester_left(requester, now)
        return count

    def cancel(self) -> None:
        """Its requester does not want it any more."""
        if not self.is_over:
            self.asker.fail(self.call.request_id, CANCELLED, None)
            self.abandon()

    def abandon(self) -> None:
        """Its requester has left."""
        self._end()

    def stop(self) -> None:
        """The broker stops: answer with what there is."""
        if not self.is_over:
            self._finish()

    # --- from the core ---

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        """One worker has answered. Raises NotRepresentable or TooLarge if that cannot be carried to the requester."""
        if self.is_over:
            return
        if result is UNSET:
            result = self._codec.null
        elif encoding is not self.encoding:
            result = transcode(result, encoding, self.encoding)
        size_bytes = len(result)
        if size_bytes > self._size_bytes_max:
            raise errors.TooLarge(errors.size_fault("result", size_bytes, self._size_bytes_max))
        self._end_at(request_id, Item(worker_id, True, result, None, None, None))

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """One worker has failed, or cannot be asked."""
        if self.is_over or request_id is None:
            return
        if failure.code == errors.WorkerTimeout.code and failure.delivery is not None:
            self._finish()  # their time is that of the gather
            return
        code, text = failure.code, failure.text
        if code == errors.NoAvailableWorkers.code:
            code = errors.WorkerLost.code
            text = LEFT + text.removeprefix(errors.NoAvailableWorkers.message)
        worker_id = self.worker_ids[self._running[request_id]]
        self._end_at(request_id, Item(worker_id, False, self._codec.null, text, code, failure.delivery))

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        raise AssertionError("only attempts are followed")

    def progress(self, request_id: str, report: Piece) -> None:
        """Not passed on: an item says how it ended."""

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        raise AssertionError("its calls do not stream")

    def reset(self, request_id: str, attempt: int) -> None:
        """An item is of the last attempt."""

    # --- inside ---

    @property
    def _may_submit(self) -> bool:
        return bool(self._waiting) and len(self._running) < self._batch_count

    def _submit(self, requester: Requester, number: int, now: float) -> None:
        call = self.call
        request_id = f"{call.request_id}:{number}"
        self._running[request_id] = number
        self._calls.submit(
            requester,
            Call(
                request_id,
                call.command,
                call.data,
                max(self._deadline - now, BUDGET_S_MIN),
                call.idempotent,
                call.priority,
                None,
                call.trace,
                self.worker_ids[number],
            ),
            now,
        )

    def _end_at(self, request_id: str, item: Item) -> None:
        number = self._running.pop(request_id)
        self._ended.add(number)
        self._succeeded_count += self._keep(item)
        is_enough = not self._is_all and self._succeeded_count >= self._needed_count
        if is_enough or len(self._ended) == len(self.worker_ids):
            self._finish()
        elif self._waiting:
            self._home.wake(self)

    def _keep(self, item: Item) -> bool:
        """Send an item, or keep it for the answer. False if it is of a failure, or becomes one because there is no
        room."""
        if self._streams:
            self._sequence += 1
            self.asker.answer(ItemMessage(self.call.request_id, self._sequence, item))
            return item.success
        encoded = self._codec.encode(item)
        extra_size_bytes = len(encoded) - self._least_size_bytes(item.worker_id)
        why = None
        if extra_size_bytes > self._room_size_bytes:
            why = (NO_ROOM, errors.TooLarge.code)
        elif not self._home.hold(len(encoded)):
            why = (HELD, errors.Overloaded.code)
        else:
            self._held_size_bytes += len(encoded)
        if why is not None:
            text, code = why
            item = Item(item.worker_id, False, self._codec.null, text, code, errors.MAY_HAVE_RUN)
            encoded = self._codec.encode(item)
            extra_size_bytes = len(encoded) - self._least_size_bytes(item.worker_id)
        self._room_size_bytes -= extra_size_bytes
        self._items.append(Raw(encoded))
        return item.success

    def _least_size_bytes(self, worker_id: str) -> int:
        return LEAST_SIZE_BYTES[self.encoding] + len(worker_id.encode())

    def _finish(self) -> None:
        """Answer."""
        ended = self._ended
        is_complete = (
            len(ended) == len(self.worker_ids)
            if self._is_all
            else self._succeeded_count >= self._needed_count
        )
        missing = [worker_id for number, worker_id in enumerate(self.worker_ids) if number not in ended]
        data = Raw(self._codec.encode(Gathered(self._items, missing, is_complete)))
        self.asker.answer(Response(self.call.request_id, True, data, None, None))
        self._end()

    def _end(self) -> None:
        self.is_over = True
        self._waiting.clear()
        self._items = []
        self._home.ended(self, self._held_size_bytes)
