"""One requester's connection as the core sees it."""

from .ports import RequesterPort
from .request import Request


class Requester:
    """A connection that submits requests. `identity` is who it is; requests in flight are found by their request_id."""

    __slots__ = ("identity", "port", "requests")

    def __init__(self, port: RequesterPort, identity: str) -> None:
        self.port = port
        self.identity = identity
        self.requests: dict[str, Request] = {}
