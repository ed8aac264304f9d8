"""What a gather needs of its surroundings: the core that runs its calls, the requester that it answers, and the books
in which all gathers are."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...protocol.encodings import Encoding
from ..core.account import Account
from ..core.call import Call, Target
from ..core.failure import Failure
from ..core.ports import RequesterPort
from ..core.requester import Requester
from ..core.settings import CoreSettings

if TYPE_CHECKING:
    from .gather import Gather


class Asker(Protocol):
    """The requester that wants a gather."""

    @property
    def encoding(self) -> Encoding:
        """The encoding of the call's data, and of all that it is sent."""

    def answer(self, message: object) -> None:
        """Send a message."""

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """Send a failure."""


class Calls(Protocol):
    """The core, as far as gathers use it."""

    def requester_joined(
        self,
        port: RequesterPort,
        account: Account,
        may_call: Callable[[str], bool] = ...,
        *,
        names_workers: bool = ...,
    ) -> Requester:
        """See Core."""

    def requester_left(self, requester: Requester, now: float) -> None:
        """See Core."""

    def submit(self, requester: Requester, call: Call, now: float) -> None:
        """See Core."""

    def cancel(self, requester: Requester, request_id: str, now: float) -> None:
        """See Core."""

    def worker_ids(self, command: str, target: Target | None) -> list[str]:
        """See Core."""

    def lack(self, requester: Requester, call: Call, now: float) -> Failure:
        """See Core."""

    @property
    def is_draining(self) -> bool:
        """See Core."""

    @property
    def settings(self) -> CoreSettings:
        """See Core."""


class Home(Protocol):
    """The books of all gathers."""

    def hold(self, size_bytes: int) -> bool:
        """Whether so many more bytes may be held for an answer; they are, if so."""

    def wake(self, gather: "Gather") -> None:
        """`proceed` is due."""

    def ended(self, gather: "Gather", held_size_bytes: int) -> None:
        """It is over, and `proceed` is due once more. It holds nothing any more, of so many bytes."""
