"""The results of attempts of jobs that no broker has settled yet.

They outlive the link on which they were sent first: a broker that dies before the result is on disk gets it again. The
attempts that still run are the runner's.
"""

import asyncio
import logging
from collections.abc import Iterator

from ..log.event import log_event
from ..protocol.messages import Claim
from . import limits
from .events import ResultsForgotten

logger = logging.getLogger(__name__)


class KeptResults:
    """Whole responses by msg_id, oldest first, at most `KEPT_RESULTS_COUNT_MAX` and `KEPT_RESULTS_SIZE_BYTES_MAX`.

    If there is no room the oldest are forgotten, except that the newest is always kept: if the broker has not got them
    either, it runs these jobs again.
    """

    __slots__ = ("_all_settled", "_results", "_size_bytes")

    def __init__(self) -> None:
        self._results: dict[str, tuple[Claim, bytes]] = {}
        self._size_bytes = 0
        self._all_settled: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, msg_id: str) -> bool:
        return msg_id in self._results

    def __iter__(self) -> Iterator[tuple[Claim, bytes]]:
        """What each is the result of, and the response; as they are now, oldest first."""
        return iter(list(self._results.values()))

    def keep(self, claim: Claim, response: bytes) -> None:
        """Keep this response, or keep it in the place of the one with its msg_id."""
        self._drop(claim.msg_id)
        self._results[claim.msg_id] = (claim, response)
        self._size_bytes += len(response)
        forgotten_count = 0
        while len(self._results) > 1 and (
            len(self._results) > limits.KEPT_RESULTS_COUNT_MAX
            or self._size_bytes > limits.KEPT_RESULTS_SIZE_BYTES_MAX
        ):
            self._drop(next(iter(self._results)))
            forgotten_count += 1
        if forgotten_count:
            log_event(logger, ResultsForgotten(forgotten_count, len(self._results), self._size_bytes))

    def settle(self, msg_id: str) -> bool:
        """Forget this one. False if it is not here."""
        if not self._drop(msg_id):
            return False
        if self._all_settled is not None and not self._results and not self._all_settled.done():
            self._all_settled.set_result(None)
        return True

    def claims(self) -> list[Claim]:
        """What to tell a broker that they are results of, the newest first."""
        return [claim for claim, _ in reversed(self._results.values())]

    def when_all_settled(self) -> "asyncio.Future[None]":
        """A future that is done as soon as there are none."""
        self._all_settled = asyncio.get_running_loop().create_future()
        if not self._results:
            self._all_settled.set_result(None)
        return self._all_settled

    def _drop(self, msg_id: str) -> bool:
        found = self._results.pop(msg_id, None)
        if found is None:
            return False
        self._size_bytes -= len(found[1])
        return True
