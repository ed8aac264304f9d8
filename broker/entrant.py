"""One peer that was admitted, while its link is open: its login, its gate, and the account that it counts for."""

from typing import TYPE_CHECKING, Final, Protocol

from ..protocol.messages import Login as LoginReport
from .access.addresses import Address
from .access.gate import Gate
from .identity.login import Login

if TYPE_CHECKING:
    from .entrance import Entrance

FAILED_RENEWALS_COUNT_MAX: Final = 3
"""Tokens in a row that a connection may try to renew its login with: a program that fails thrice has no better one.
Those that were not looked at, because others behind its address have failed too often, do not count."""


class Occupant(Protocol):
    """The session of a peer, as the entrance sees it."""

    def login_expires(self, expires_in_s: float) -> None:
        """Notify the peer that its login runs out."""

    def login_ends(self) -> None:
        """Give the peer nothing new: `login_ended` follows at once, when others have been prepared for their end."""

    def login_ended(self, code: int, reason: str) -> None:
        """Take nothing more from the peer, settle what it has, and close its link with this code."""


class Entrant:
    """`port`: the name of the one that it came in by. `gate`: what its calls pass; the same as long as it is here.
    `login` changes when it is renewed, or judged again; `is_over`: it has ended, and the link is being closed.
    `session` is set when the link opens."""

    __slots__ = (
        "_entrance",
        "address",
        "failed_renewals_count",
        "gate",
        "is_over",
        "login",
        "port",
        "session",
    )

    session: Occupant

    def __init__(self, entrance: "Entrance", port: str, address: Address, login: Login, gate: Gate) -> None:
        self._entrance = entrance
        self.port = port
        self.address = address
        self.login = login
        self.gate = gate
        self.is_over = False
        self.failed_renewals_count = 0

    def renew(self, token: str) -> LoginReport:
        """Log in again with another token of the same identity. Returns what to answer. If that fails, the earlier
        login holds for as long as it would have."""
        return self._entrance.renew(self, token)

    def renewal_answered(self) -> None:
        """The answer is on its way: end a login that could not be renewed FAILED_RENEWALS_COUNT_MAX times in a row."""
        if self.failed_renewals_count >= FAILED_RENEWALS_COUNT_MAX:
            self._entrance.not_renewed(self)

    def left(self) -> None:
        """Its link has closed."""
        self._entrance.left(self)
