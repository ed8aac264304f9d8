"""What one requester sends to many: its gathers, broadcasts, and messages of the user's own. Whether it may, and which
call of `Gathers` or `Post` each means.
"""

from msgspec import UNSET, Raw

from ..protocol import errors
from ..protocol.gather_messages import Broadcast, Broadcasted, Send, Sent
from ..protocol.limits import TARGET_VALUES_COUNT_MAX
from ..protocol.messages import Request
from .core.call import Call, Target
from .core.delivery.failures import LARGE_TARGET
from .core.failure import Failure, failure_of
from .core.fleet.route import values_count
from .core.requester import Requester
from .entrant import Entrant
from .gather.gather import Gather
from .gather.ports import Asker
from .session_context import SessionContext


class GatherRequests:
    """Of `asker`, which is `requester` to the core. `null`: in its encoding. `gathered`: its gathers that have not been
    answered, by request_id."""

    __slots__ = ("_asker", "_context", "_entrant", "_null", "_requester", "gathered")

    def __init__(
        self, context: SessionContext, asker: Asker, requester: Requester, entrant: Entrant, null: Raw
    ) -> None:
        self._context = context
        self._asker = asker
        self._requester = requester
        self._entrant = entrant
        self._null = null
        self.gathered: dict[str, Gather] = context.gathers.gathers.of(asker)

    def begin(self, call: Call, message: Request, now: float) -> bool:
        """Begin a gather, or refuse what has the id of one. False for any other call."""
        wish, request_id = message.gather, call.request_id
        if request_id in self.gathered or (wish is not None and request_id in self._requester.requests):
            text = f"request_id: {request_id!r} is already in flight on this connection"
            failure: Failure | None = Failure(
                errors.DuplicateRequestId.code, text, None, errors.NOT_DELIVERED
            )
        elif wish is None:
            return False
        elif call.hedge_after is not None or message.otherwise is not None:
            text = "gather: not together with hedge or otherwise"
            failure = Failure(errors.BadRequest.code, text, None, errors.NOT_DELIVERED)
        elif _is_large(call.target):
            failure = LARGE_TARGET
        else:
            failure = self._context.gathers.gathers.open(
                self._asker, self._requester, call, wish, now, streams=bool(message.stream)
            )
        if failure is not None:
            self._context.core.refuse(self._requester, request_id, failure)
        return True

    def cancel(self, request_id: str) -> bool:
        """Cancel a gather. False if there is none with this id."""
        gather = self.gathered.get(request_id)
        if gather is not None:
            gather.cancel()
        return gather is not None

    def take(self, message: Broadcast | Send) -> None:
        """Pass a message on, or say why not."""
        target = message.target if isinstance(message, Broadcast) else message.to
        failure = self._entrant.gate.message(message.kind, target)
        if failure is None and _is_large(target):
            failure = LARGE_TARGET
        if failure is None:
            try:
                self._pass_on(message)
            except errors.TaskferryError as error:
                failure = failure_of(error)
        if failure is not None:
            self._context.core.refuse(self._requester, message.request_id, failure)

    def left(self) -> None:
        """Its link has closed, or its login has ended."""
        self._context.gathers.gathers.left(self._asker)

    def _pass_on(self, message: Broadcast | Send) -> None:
        """Raises what `Post` raises."""
        post, encoding, sender = self._context.post, self._asker.encoding, self._entrant.connection_id
        data = self._null if message.data is UNSET else message.data
        if isinstance(message, Broadcast):
            count = post.broadcast(message.kind, data, encoding, sender, message.target)
            self._asker.answer(Broadcasted(message.request_id, count))
        else:
            post.send(message.kind, data, encoding, sender, message.to)
            if message.request_id is not None:
                self._asker.answer(Sent(message.request_id))


def _is_large(target: Target | None) -> bool:
    return target is not None and values_count(target) > TARGET_VALUES_COUNT_MAX
