"""Whom one scrape speaks of, settled when it begins: it gives way to other work between its rows, and who comes or
goes meanwhile must not disturb it. The numbers themselves are read row by row."""

from typing import TYPE_CHECKING

from ..core.fleet.command import Command
from ..core.fleet.roster import OTHER
from ..core.fleet.worker import Worker

if TYPE_CHECKING:
    from ..broker import Broker


class Subjects:
    """`commands` have rows of their own. `unlisted` share those of `other`, which is right once `gather` has been
    called for each, and None where there is nobody to share them."""

    __slots__ = ("broker", "commands", "other", "unlisted", "workers")

    def __init__(self, broker: "Broker") -> None:
        self.broker = broker
        roster = broker.core.roster
        known = roster.commands.values()
        self.commands: tuple[Command, ...] = tuple(command for command in known if command.is_listed)
        self.unlisted: tuple[Command, ...] = tuple(command for command in known if not command.is_listed)
        self.workers: tuple[Worker, ...] = tuple(roster.workers.values())
        self.other: Command | None = None
        if self.unlisted or roster.forgotten.outcomes:
            self.other = Command(OTHER, "", is_listed=False)
            self.other.absorb(roster.forgotten)

    def gather(self, command: Command) -> None:
        """Count what one of `unlisted` has counted under `other`."""
        assert self.other is not None, "there is one where a command is unlisted"
        self.other.absorb(command)

    @property
    def named(self) -> tuple[Command, ...]:
        """Each command that has rows of counts, `other` included."""
        return self.commands if self.other is None else (*self.commands, self.other)
