"""What a request ends with if its client has to end it: its time is up, or its link has broken."""

from ..protocol.errors import (
    MAY_HAVE_RUN,
    NOT_DELIVERED,
    CannotConnect,
    ConnectionLost,
    Overloaded,
    ShuttingDown,
    TaskferryError,
    WorkerTimeout,
)
from .in_flight import InFlight, Line


def overdue(request: InFlight, url: str, no_link_reason: str, *, has_link: bool) -> TaskferryError:
    """The error of a request in flight whose time is up. `no_link_reason`: why there is no link, if there is none."""
    if request.question is not None and request.was_sent:
        return _unanswered(request, url, no_link_reason)
    if request.number:
        error = WorkerTimeout(f"{WorkerTimeout.message}, and no answer from the broker at {url}")
        error.delivery = MAY_HAVE_RUN  # what the link still holds may still be sent
        return error
    if request.may_have_run:
        return lost(request, url, no_link_reason)
    if request.is_left:
        leaving = ShuttingDown(f"{ShuttingDown.message} ({url}), and no other came in time")
        leaving.delivery = NOT_DELIVERED
        return leaving
    if request.retries_count and has_link:
        return Overloaded(f"{Overloaded.message}: refused, and not sent again in time")
    return CannotConnect(f"{CannotConnect.message} at {url} in time: {no_link_reason}")


def crowded_out(line: Line) -> Overloaded:
    """That of one whose turn in `line` did not come in time."""
    count = len(line.in_flight)
    error = Overloaded(f"Not sent in time: {count} requests are in flight on this connection")
    error.delivery = NOT_DELIVERED
    return error


def lost(request: InFlight, url: str, no_link_reason: str) -> ConnectionLost:
    """That of one whose link has broken, and which may not run twice."""
    reason = ShuttingDown.message if request.is_left else no_link_reason
    return ConnectionLost(f"Connection to the broker lost: {request.what_may_be} ({url}: {reason})")


def _unanswered(request: InFlight, url: str, no_link_reason: str) -> WorkerTimeout:
    """A question that was sent, and not answered in time."""
    link = "" if request.number else f" ({no_link_reason})"
    error = WorkerTimeout(f"No answer from the broker at {url} in time{link}: {request.what_may_be}")
    error.delivery = MAY_HAVE_RUN
    return error
