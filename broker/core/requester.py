"""One requester's connection as the core sees it."""

from .ports import RequesterPort
from .request import Request


class Requester:
    """A connection that submits calls, under an `identity`. `requests` are those in flight, by request_id."""

    __slots__ = ("identity", "port", "requests")

    def __init__(self, port: RequesterPort, identity: str) -> None:
        self.port = port
        self.identity = identity
        self.requests: dict[str, Request] = {}
