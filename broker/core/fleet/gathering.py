"""The first seconds after the broker's start, in which its workers come back.

Clients of a broker that was restarted are back at different moments, requesters often before workers. So what nobody
serves yet waits in these seconds, within the bounds of everything that waits, instead of failing. Attempts of jobs wait
in their lanes all the time, and not here.
"""

from typing import Final

from ..request import Request
from .command import Command

AWAITED_COUNT_MAX: Final = 1000
"""Commands that requests may wait for while nobody serves them: as many as one worker may serve. Each takes some
kilobytes, and a requester can invent names. Requests for more fail at once."""


UNKNOWN: Final = "_unknown"
"""The name of the stand-in for all others. No command has it: names start with a letter or a digit."""


class Gathering:
    """`is_on` until `ends_at` (seconds, monotonic). `awaited`: commands that were requested meanwhile, and that no
    worker has served since the start. `unknown` stands for all others that no worker has served."""

    __slots__ = ("awaited", "ends_at", "is_on", "unknown")

    def __init__(self) -> None:
        self.is_on = False
        self.ends_at = 0.0
        self.awaited: dict[str, Command] = {}
        self.unknown = Command(UNKNOWN)

    def begin(self, ends_at: float) -> None:
        """The broker has started."""
        self.is_on = True
        self.ends_at = ends_at

    def command(self, name: str) -> Command:
        """The command to wait for; `unknown` if requests for it have to fail."""
        if not self.is_on:
            return self.unknown
        command = self.awaited.get(name)
        if command is None:
            if len(self.awaited) >= AWAITED_COUNT_MAX:
                return self.unknown
            command = self.awaited[name] = Command(name)
        return command

    def holds(self, request: Request) -> bool:
        """Whether a request that nobody can take yet waits all the same."""
        return (
            self.is_on
            and request.call.attempt is None
            and request.command is not self.unknown
            and not request.requester.names_workers
        )

    def end(self) -> list[Command]:
        """It is over, and nothing waits for them any more. Returns the commands that nobody has served."""
        unserved = list(self.awaited.values())
        self.awaited.clear()
        return unserved
