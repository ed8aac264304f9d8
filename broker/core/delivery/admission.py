"""Which calls become requests, and how the others are refused."""

from ....protocol import errors
from ....protocol.limits import TARGET_VALUES_COUNT_MAX
from ..call import BUDGET_S_MIN, Call
from ..failure import Failure
from ..fleet.command import Command
from ..fleet.roster import Roster
from ..fleet.route import Route, values_count
from ..measures.counts import Counts
from ..ports import Steps
from ..request import Request
from ..requester import Requester
from ..settings import CoreSettings
from .deadlines import NEVER, Deadlines
from .failures import LARGE_TARGET, RETRY_AFTER_S, refusal
from .hedging import due_at
from .room import Room


class Admission:
    """Turns calls into requests. `is_closed`: no more calls are admitted."""

    __slots__ = ("_counts", "_deadlines", "_room", "_roster", "is_closed", "settings", "steps")

    def __init__(
        self,
        settings: CoreSettings,
        roster: Roster,
        deadlines: Deadlines,
        *,
        room: Room,
        counts: Counts,
        steps: Steps | None,
    ) -> None:
        self.settings = settings
        self.is_closed = False
        self._roster = roster
        self._room = room
        self._deadlines = deadlines
        self._counts = counts
        self.steps = steps

    def admit(self, requester: Requester, call: Call, now: float) -> Request | None:
        """The request made from this call, not yet assigned or waiting; None if the call was refused."""
        settings = self.settings
        requests = requester.requests
        account = requester.account
        request_id = call.request_id
        hedge_after = call.hedge_after
        if (
            request_id in requests
            or len(requests) >= settings.in_flight_count_max
            or account.in_flight_count >= account.in_flight_count_max
            or self.is_closed
            or (hedge_after is not None and not call.idempotent)
        ):
            refused = refusal(settings, requester, call, is_closed=self.is_closed)
            if refused is None and account.in_flight_count >= account.in_flight_count_max:
                refused = self._room_in_account(requester, call, now)
            if refused is not None:
                self.refuse(requester, request_id, refused)
                return None
        command = self._roster.commands.get(call.command)
        if command is None:
            gathering = self._roster.gathering
            command = gathering.unknown if call.attempt is not None else gathering.command(call.command)
        target = call.target
        if target is None:
            route = command.route
        elif call.attempt is None and values_count(target) > TARGET_VALUES_COUNT_MAX:
            self.refuse(requester, request_id, LARGE_TARGET)
            return None
        elif command is self._roster.unknown:
            route = command.route
        elif requester.names_workers:
            route = command.makeshift
        else:
            route = self._roster.targeted(command, target)
        attempt = call.attempt
        if attempt is not None:
            return self._begin(requester, call, command, route, attempt.timeout_s, NEVER, now)
        self._counts.submitted_count += 1
        timeout_s = settings.timeout_s if call.timeout_s is None else max(call.timeout_s, BUDGET_S_MIN)
        deadline = now + timeout_s
        looked_at = deadline if hedge_after is None else due_at(command, hedge_after, deadline, now)
        request = Request(call, command, route, requester, now, timeout_s, looked_at)
        requests[request_id] = request
        account.in_flight_count += 1
        self._deadlines.add(request)
        if self.steps is not None:
            self.steps.admitted(request)
        return request

    def adopt(
        self, requester: Requester, call: Call, command: Command, timeout_s: float, now: float
    ) -> Request:
        """The request made from this call, which a worker already has, with `timeout_s` left."""
        # It never waits, so it does not matter that the route of its target may be another one.
        return self._begin(requester, call, command, command.route, timeout_s, now + timeout_s, now)

    def _begin(  # noqa: PLR0917  a request is all of these
        self,
        requester: Requester,
        call: Call,
        command: Command,
        route: Route,
        timeout_s: float,
        deadline: float,
        now: float,
    ) -> Request:
        """The request of an attempt."""
        self._counts.submitted_count += 1
        request = Request(call, command, route, requester, now, timeout_s, deadline)
        request.deadline = deadline
        requester.requests[call.request_id] = request
        requester.account.in_flight_count += 1
        self._deadlines.add(request)
        if self.steps is not None:
            self.steps.admitted(request)
        return request

    def _room_in_account(self, requester: Requester, call: Call, now: float) -> Failure | None:
        """Make room if an account has as many requests in flight as it may. The failure if that is not possible, or of
        no use: nothing gives way to a call that nobody can take."""
        account = requester.account
        text = f"{account.name} has {account.in_flight_count_max} requests in flight (account_in_flight_count_max)"
        if self._may_be_taken(requester, call) and self._room.make_in_account(requester, text, now):
            return None
        self._counts.account_refused_count += 1
        return Failure(errors.Overloaded.code, text, RETRY_AFTER_S, errors.NOT_DELIVERED)

    def _may_be_taken(self, requester: Requester, call: Call) -> bool:
        """Whether there is a worker for it, or may be before the first ones are back."""
        gathering = self._roster.gathering
        command = self._roster.commands.get(call.command) or gathering.command(call.command)
        target = call.target
        if target is not None and values_count(target) > TARGET_VALUES_COUNT_MAX:
            return False
        if gathering.is_on and not requester.names_workers:
            return command is not gathering.unknown
        if target is None:
            return command.route.pool is not None
        return bool(self._roster.matching(command, target))

    def refuse(self, requester: Requester, request_id: str | None, failure: Failure) -> None:
        """Answer a call that is not admitted, and count it. `request_id` is None if it could not be read."""
        self._counts.refuse(failure.code)
        requester.port.fail(request_id, failure, None)
