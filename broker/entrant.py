"""One peer that was admitted, while its link is open: its login, its gate, the account that it counts for, and what it
has said of itself."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from ..protocol.limits import DEVICE_LENGTH_MAX
from ..protocol.messages import Login as LoginReport
from ..transport.link import Link
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
        """Take nothing more from the peer, settle what it has, and close its link with this code. Its login is over, or
        an operator does not want the connection."""


class Entrant:
    """`port`: the name of the one that it came in by. `gate`: what its calls pass; the same as long as it is here.
    `login` changes when it is renewed, or judged again; `is_over`: it has ended, and the link is being closed.

    Set when the link opens: `session`, `link`, `connection_id`, the `number` in it, and `opened_at`, on the monotonic
    clock. What the peer says of itself: `client_id`, `worker_id`, and facts about its `device`.
    """

    __slots__ = (
        "_entrance",
        "address",
        "client_id",
        "connection_id",
        "device",
        "failed_renewals_count",
        "gate",
        "is_over",
        "link",
        "login",
        "number",
        "opened_at",
        "port",
        "session",
        "worker_id",
    )

    session: Occupant
    link: Link
    number: int

    def __init__(self, entrance: "Entrance", port: str, address: Address, login: Login, gate: Gate) -> None:
        self._entrance = entrance
        self.port = port
        self.address = address
        self.login = login
        self.gate = gate
        self.is_over = False
        self.failed_renewals_count = 0
        self.connection_id = ""
        self.opened_at = 0.0
        self.client_id: str | None = None
        self.worker_id: str | None = None
        self.device: Mapping[str, str] = {}

    def opened(self, session: Occupant, link: Link) -> None:
        """Its link has opened, and `session` receives from it."""
        self.session = session
        self.link = link
        self.opened_at = time.monotonic()
        self.connection_id = self._entrance.connections.opened(self)

    def describe_device(self, device: Mapping[str, str]) -> str | None:
        """What the peer says of its device, instead of what it said before. Returns what is wrong with it, for people:
        then nothing has changed."""
        length = sum(len(name) + len(fact) for name, fact in device.items())
        if length > DEVICE_LENGTH_MAX:
            return f"device: {length} characters, at most {DEVICE_LENGTH_MAX} (DEVICE_LENGTH_MAX)"
        self.device = device
        return None

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
