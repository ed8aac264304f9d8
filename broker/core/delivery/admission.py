"""Why a request is not taken, or cannot be served: the texts that requesters read."""

from typing import Final

from ....protocol import errors, messages
from ....protocol.errors import TaskferryError
from ..fleet.route import Target, describe_target
from ..requester import Requester
from ..settings import CoreSettings

RETRY_AFTER_S: Final = 1.0
"""What a requester with too many requests in flight is told: its own next response makes room."""


def refusal(
    settings: CoreSettings, requester: Requester, message: messages.Request, request_id: str
) -> TaskferryError:
    """Why a request is not admitted, on a broker that would be ready to."""
    if request_id in requester.requests:
        return errors.DuplicateRequestId(
            f"request_id: {request_id!r} is already in flight on this connection"
        )
    if len(requester.requests) >= settings.in_flight_count_max:
        text = (
            f"over {settings.in_flight_count_max} requests in flight on this connection (in_flight_count_max)"
        )
        overloaded = errors.Overloaded(text)
        overloaded.retry_after_s = RETRY_AFTER_S
        return overloaded
    if message.hedge is not None and not message.idempotent:
        return errors.BadRequest("hedge: needs idempotent: true, because the command may run twice")
    return errors.ShuttingDown()


def no_workers(command: str, target: Target | None) -> errors.NoAvailableWorkers:
    """Nobody serves the command, or nobody who is what was asked for."""
    if target is None:
        return errors.NoAvailableWorkers()
    text = f"{errors.NoAvailableWorkers.message}: none that serves {command} is {describe_target(target)}"
    return errors.NoAvailableWorkers(text)
