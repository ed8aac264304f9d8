"""The requests that wait on one route, and which is next.

Accounts take turns, and within an account its connections: a client gets no more turns by opening more connections, and
clients that share an account, or an address without a name, do not starve each other. Of the connection whose turn it
is, `Share` says which request goes. How priorities shift turns is in turns.py. Turns among parties rather than a common
line are fair queueing (Nagle, RFC 970); those of a hierarchy of parties, Bennett and Zhang (SIGCOMM 1996).
"""

from collections.abc import Iterator

from ..account import Account
from ..request import Request
from ..requester import Requester
from .overload import Overload
from .share import NONE, Preview, Share
from .turns import Turn, Turns


class AccountLine:
    """What one account has waiting on one line: the shares of its requesters, and its `turn` among the accounts. All
    attempts are one share, whichever encoding they are in."""

    __slots__ = ("account", "shares", "turn", "turns")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.turn: Turn[AccountLine] = Turn(self)
        self.turns: Turns[Share] = Turns()
        self.shares: dict[Requester | Account, Share] = {}


class WaitingLine:
    """`count` requests wait. Adding, removing and taking one is O(log connections). `overload` judges the line as a
    whole; `is_overloaded` says whether it, or any share of it, is overloaded."""

    __slots__ = ("_accounts", "_turns", "count", "is_overloaded", "overload")

    def __init__(self) -> None:
        self._turns: Turns[AccountLine] = Turns()
        self._accounts: dict[Account, AccountLine] = {}
        self.count = 0
        self.overload = Overload()
        self.is_overloaded = False

    @property
    def turn(self) -> Turn[AccountLine]:
        """That of the account that is next; a request waits."""
        return self._turns.first()

    def add(self, request: Request, now: float, *, is_first: bool) -> Share:
        """Add `request`; with `is_first`, ahead of its requester's other requests of its class. Returns its share."""
        account = request.requester.account
        line = self._accounts.get(account)
        if line is None:
            line = self._accounts[account] = AccountLine(account)
        is_attempt = request.call.attempt is not None
        owner = account if is_attempt else request.requester
        share = line.shares.get(owner)
        if share is None:
            share = line.shares[owner] = Share(owner, is_attempts=is_attempt)
        share.add(request, is_first=is_first)
        self.count += 1
        if share.count == 1:
            line.turns.enter(share.turn, share.priority, request.submitted_at, now)
        elif share.priority != share.turn.priority:
            line.turns.place(share.turn, share.priority)
        if line.turns.count == share.count == 1:
            self._turns.enter(line.turn, share.priority, request.submitted_at, now)
        else:
            self._follow(line)
        return share

    def remove(self, request: Request) -> Share:
        """Remove `request`, which waits here. Returns what was its share."""
        line, share = self._place_of(request)
        share.remove(request)
        self.count -= 1
        if not share.count:
            self._drop(line, share)
        elif share.priority != share.turn.priority:
            line.turns.place(share.turn, share.priority)
        if line.shares:
            self._follow(line)
        else:
            self._turns.leave(line.turn)
            del self._accounts[line.account]
        return share

    def peek(self) -> Request | None:
        """The request that is next; None if none waits."""
        if not self.count:
            return None
        share = self._turns.first().party.turns.first().party
        return share.next(is_newest=self._is_newest_first(share))

    def take(self, now: float) -> tuple[Request, Share]:
        """Remove and return the request that is next, and what was its share; there is one."""
        line = self._turns.first().party
        share = line.turns.first().party
        line.turns.served(share.turn, now)
        request = share.take(now, is_newest=self._is_newest_first(share))
        self.count -= 1
        if share.count:
            line.turns.place(share.turn, share.priority)
        else:
            self._drop(line, share)
        self._turns.served(line.turn, now)
        if line.shares:
            self._turns.place(line.turn, line.turns.first().priority)
        else:
            self._turns.leave(line.turn)
            del self._accounts[line.account]
        return request, share

    def pass_turn(self, owner: Requester | Account, now: float) -> None:
        """The account that is next, and what `owner` has of it, have had their turn on another line of the worker."""
        line = self._turns.first().party
        turn = line.turns.first()
        if turn.party.owner is owner:
            turn.clock = max(turn.clock, now)
            line.turns.place(turn, turn.priority)
        line.turn.clock = max(line.turn.clock, now)
        self._turns.place(line.turn, line.turns.first().priority)

    def share_of(self, requester: Requester) -> Share | None:
        """The share of a requester that has no attempts; None if nothing of it waits."""
        line = self._accounts.get(requester.account)
        return None if line is None else line.shares.get(requester)

    def accounts(self) -> list[AccountLine]:
        """Those of which a request waits."""
        return list(self._accounts.values())

    def shares(self) -> list[Share]:
        """Those of which a request waits."""
        return [share for line in self._accounts.values() for share in line.shares.values()]

    def overload_changed(self, share: Share, now: float) -> None:
        """`share.is_overloaded` has changed; it is one of requests."""
        share.overload_changed(now)
        if share.priority != share.turn.priority:
            assert isinstance(share.owner, Requester), "attempts are not judged"
            line = self._accounts[share.owner.account]
            line.turns.place(share.turn, share.priority)
            self._follow(line)

    def in_order(self, now: float) -> Iterator[Request]:
        """All requests, in the order in which they would be served now if none came or left and there were no overload.
        Costs O(connections), and O(log connections) for each."""
        previews: dict[Turn[AccountLine], Turn[Turns[Preview]]] = {}
        for line in self._accounts.values():
            turns = line.turns.copy({share.turn: Preview(share).turn for share in line.shares.values()})
            previews[line.turn] = Turn(turns)
        accounts = self._turns.copy(previews)
        while accounts.count:
            account = accounts.first()
            turns = account.party
            turn = turns.first()
            turns.served(turn, now)
            accounts.served(account, now)
            yield turn.party.take()
            if turn.party.priority == NONE:
                turns.leave(turn)
            else:
                turns.place(turn, turn.party.priority)
            if turns.count:
                accounts.place(account, turns.first().priority)
            else:
                accounts.leave(account)

    def _is_newest_first(self, share: Share) -> bool:
        return share.is_overloaded or (self.overload.is_overloaded and not share.is_attempts)

    def _place_of(self, request: Request) -> tuple[AccountLine, Share]:
        requester = request.requester
        line = self._accounts[requester.account]
        return line, line.shares[requester if request.call.attempt is None else requester.account]

    def _drop(self, line: AccountLine, share: Share) -> None:
        """The last request of a share has gone."""
        line.turns.leave(share.turn)
        del line.shares[share.owner]

    def _follow(self, line: AccountLine) -> None:
        """Rank an account by the priority of what it would be served."""
        priority = line.turns.first().priority
        if priority != line.turn.priority:
            self._turns.place(line.turn, priority)
