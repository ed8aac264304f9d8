"""One requester's connection as the core sees it."""

from .account import Account
from .ports import RequesterPort
from .request import Request


class Requester:
    """A connection that submits calls, on an account. `requests` are those in flight, by request_id."""

    __slots__ = ("account", "port", "requests")

    def __init__(self, port: RequesterPort, account: Account) -> None:
        self.port = port
        self.account = account
        self.requests: dict[str, Request] = {}
