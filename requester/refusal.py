"""A broker that is there, and does not accept this client's connection: the error that its requests end with."""

from http import HTTPStatus
from typing import Final, NamedTuple

from ..credentials.source import NO_TOKEN
from ..protocol.errors import NOT_DELIVERED, Forbidden, RateLimited, TaskferryError, Unauthenticated
from ..transport.connect import ConnectError

_ERRORS: Final[dict[int, type[TaskferryError]]] = {
    HTTPStatus.UNAUTHORIZED: Unauthenticated,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
}


class Refusal(NamedTuple):
    """Why. `kind`: the class of the error."""

    kind: type[TaskferryError]
    public_url: str
    reason: str
    retry_after_s: float

    @property
    def is_final(self) -> bool:
        """Waiting alone does not help."""
        return self.kind is not RateLimited

    def error(self) -> TaskferryError:
        """A new exception that says so."""
        error = self.kind(f"{self.kind.message} at {self.public_url}: {self.reason}")
        error.delivery = NOT_DELIVERED
        error.retry_after_s = self.retry_after_s or None
        return error


def refusal_of(error: ConnectError, public_url: str, *, has_token: bool) -> Refusal | None:
    """The refusal that an attempt to connect ended with; None if it was another error."""
    kind = _ERRORS.get(error.status or 0)
    if kind is None:
        return None
    reason = str(error) if has_token or kind is not Unauthenticated else f"{error}; {NO_TOKEN}"
    return Refusal(kind, public_url, reason, error.retry_after_s)
