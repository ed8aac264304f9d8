"""The broker's own failures: calls that it refuses, and requests that fail without a handler's answer."""

from typing import Final

from ....protocol import errors
from ....protocol.limits import TARGET_VALUES_COUNT_MAX
from ..call import Call
from ..failure import Failure, plain_failure
from ..requester import Requester
from ..settings import CoreSettings

RETRY_AFTER_S: Final = 1.0
"""Sent to a requester with too many requests in flight; its next response makes room."""

LOST: Final = plain_failure(errors.WorkerLost)
GIVEN_UP: Final = Failure(
    errors.WorkerLost.code,
    f"{errors.WorkerLost.message}; it could not run again, because too much data was kept (assigned_size_bytes_max)",
)
TIMEOUT: Final = plain_failure(errors.WorkerTimeout)
CANCELLED: Final = plain_failure(errors.Cancelled)
STOPPED: Final = plain_failure(errors.BrokerStopped)
SHUTTING_DOWN: Final = plain_failure(errors.ShuttingDown)

LARGE_TARGET: Final = Failure(
    errors.BadRequest.code,
    f"target: its labels have over {TARGET_VALUES_COUNT_MAX} values in all (TARGET_VALUES_COUNT_MAX)",
    None,
    errors.NOT_DELIVERED,
)


def refusal(settings: CoreSettings, requester: Requester, call: Call, *, is_closed: bool) -> Failure | None:
    """Why a call is not admitted, apart from the bound of its account: the first reason that applies. None for an
    attempt that only exceeds the bound of one connection, which is for peers."""
    if call.request_id in requester.requests:
        text = f"request_id: {call.request_id!r} is already in flight on this connection"
        return Failure(errors.DuplicateRequestId.code, text, None, errors.NOT_DELIVERED)
    if len(requester.requests) >= settings.in_flight_count_max and call.attempt is None:
        bound = settings.in_flight_count_max
        text = f"over {bound} requests in flight on this connection (in_flight_count_max)"
        return Failure(errors.Overloaded.code, text, RETRY_AFTER_S, errors.NOT_DELIVERED)
    if call.hedge_after is not None and not call.idempotent:
        text = "hedge: needs idempotent: true, because the command may run twice"
        return Failure(errors.BadRequest.code, text, None, errors.NOT_DELIVERED)
    if is_closed:
        return Failure(errors.ShuttingDown.code, errors.ShuttingDown.message, None, errors.NOT_DELIVERED)
    return None
