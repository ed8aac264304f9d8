"""The core where somebody follows each request, step by step: it does what `Core` does, and tells a `Follower` so.

A class of its own, so that a broker that nobody follows does not pay for the question. Knows what a step is; what is
made of the story it must not know.
"""

from typing import Final

from msgspec import Raw

from ...loadbalance.choice import StrategyChoice
from ...protocol import errors, messages
from .core import Core
from .fleet.worker import Worker
from .ports import CancelReason, Follower, Observer
from .request import Assignment, Request
from .requester import Requester
from .settings import CoreSettings

ANSWERED: Final = "answered"
"""How an assignment ends whose request another copy has answered; otherwise as its request, or as below."""


class FollowedCore(Core):
    """As `Core`. `follower` hears of each admitted request from its admission to its end."""

    __slots__ = ("_follower",)

    def __init__(
        self, settings: CoreSettings, choice: StrategyChoice, observer: Observer, follower: Follower
    ) -> None:
        super().__init__(settings, choice, observer)
        self._follower = follower

    def submit(  # noqa: PLR0917  as in Core
        self,
        requester: Requester,
        message: messages.Request,
        request_id: str,
        command: str,
        data: Raw,
        now: float,
    ) -> None:
        unserved_count = self.unserved_count
        super().submit(requester, message, request_id, command, data, now)
        if self.unserved_count > unserved_count:
            self._follower.unserved(request_id, message.trace)

    def _line_up(self, request: Request, now: float) -> None:
        self._follower.admitted(request)
        super()._line_up(request, now)
        if request.is_waiting:
            self._follower.waits(request)

    def _assign(self, request: Request, worker: Worker, timeout_s: float, now: float) -> None:
        first = request.assignment
        self._follower.admitted(request)
        super()._assign(request, worker, timeout_s, now)
        assignment = request.assignment
        # Where this worker could not be sent it, it is another one's, and was told, or nobody's.
        if assignment is not None and assignment is not first and assignment.worker is worker:
            self._follower.assigned(request, assignment, is_hedge=first is not None)

    def _drop_other_copy(self, request: Request, answered: Assignment) -> None:
        other = request.hedge if request.assignment is answered else request.assignment
        super()._drop_other_copy(request, answered)
        assert other is not None, "a request with a second copy has a first one"
        self._follower.unassigned(request, other, ANSWERED)

    def _recover(self, request: Request, lost: Assignment, now: float) -> bool:
        outcome = errors.WorkerLost.code if lost.was_written else errors.NOT_DELIVERED
        self._follower.unassigned(request, lost, outcome)
        is_settled = super()._recover(request, lost, now)
        if not is_settled:
            self._follower.waits(request)
        return is_settled

    def _finish(self, request: Request, outcome: str, now: float, cancel: CancelReason | None = None) -> None:
        super()._finish(request, outcome, now, cancel)
        self._follower.ended(request, outcome)
