"""One requester's connection as the core sees it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .account import Account
from .ports import RequesterPort
from .queue.holdings import Holder, Holders
from .request import Request

if TYPE_CHECKING:
    from .queue.share import Share


def may_call_all(_: str) -> bool:
    """For a requester that may call every command."""
    return True


class Requester:
    """A connection that submits calls, on an account. `requests` are those in flight, by request_id. `holder` says how
    much of that waits beside other connections of the account, and `shares` on which lines.

    `may_call`: whether it may call a command, for what is said about others than the one that it calls.
    `names_workers`: each of its calls is for one connected worker, which is the target, and for no other. It waits for
    that one however many targets there are, and fails as soon as that one leaves.
    """

    __slots__ = ("account", "holder", "may_call", "names_workers", "port", "requests", "shares")

    def __init__(
        self,
        port: RequesterPort,
        account: Account,
        may_call: Callable[[str], bool] = may_call_all,
        *,
        names_workers: bool = False,
    ) -> None:
        self.port = port
        self.account = account
        self.may_call = may_call
        self.names_workers = names_workers
        self.requests: dict[str, Request] = {}
        self.holder: Holder[Requester] = Holder(self)
        self.shares: Holders[Share] = Holders()
