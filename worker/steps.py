"""The steps of an assignment in a worker, for a listener that follows them, such as tracing."""

from collections.abc import Callable
from typing import Any, Protocol

from ..protocol.messages import AssignmentMessage
from .command import Execution


class Steps(Protocol):
    """Notified of each step of each assignment of one link, once and in order. Must not raise.

    `received`; then `starts`, unless the assignment is refused; then `ended`. An assignment whose msg_id is in flight
    already is no step at all. All calls come from the event loop.
    """

    def received(self, message: AssignmentMessage) -> None:
        """An assignment has arrived."""

    def starts(self, msg_id: str, function: Callable[..., Any], execution: Execution) -> Callable[..., Any]:
        """Its handler is about to run. The function to run in its place, or `function` itself.

        It takes and returns what `function` does, as `execution` calls it; for PROCESS it can be pickled.
        """

    def ended(self, msg_id: str, code: str | None, error: BaseException | None) -> None:
        """Its response is ready, or would be if the link were still there.

        `code` is that of its failure, None for a success; `error` what the handler or the conversion of its arguments
        raised, if anything did in this process.
        """
