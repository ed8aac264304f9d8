"""The commands that the broker knows, which of them are listed under their own names, and when one is forgotten.

A command is known as soon as a worker serves it. It is gone when no connected worker has it any more, and forgotten
some time after that; or at once if there are too many, or if a command that is there to stay needs its place in the
list.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from itertools import islice
from typing import Final

from ....loadbalance.choice import StrategyChoice
from ..delivery.deadlines import NEVER
from .command import Command
from .gathering import Gathering
from .route import Route

COMMANDS_KNOWN_COUNT_MAX: Final = 10_000
"""Beyond this number of commands, one is forgotten as soon as its last worker has left, so that workers that join with
ever new names do not fill the memory. Up to it, commands and their counts are kept for a while."""

COMMANDS_LISTED_COUNT_MAX: Final = 1000
"""Commands that metrics show under their own names, as many as one worker may serve: each is some eighty time series,
so these are 80,000. All others are merged into one, OTHER."""

COMMAND_KEPT_S: Final = 3600.0
"""How long a command is known after its last worker has left, or after the last request for it: long enough for an
alert to be seen, and for its counts to be read; short enough for a retired one to end its alert by itself."""

LISTED_AFTER_S: Final = 60.0
"""How long a command must have been served before it takes the place of one that is gone: so that workers that come and
go with ever new names do not replace the list of time series with each of them."""

CHANGED_COUNT_MAX: Final = 200
"""Commands that are forgotten, or listed, in one check, so that it takes a millisecond at most."""

OTHER: Final = "_other"
"""The name under which those that are not listed are shown. No command has it: names start with a letter or a digit."""


class Gone:
    """That a command is gone since `since` (seconds, monotonic), when `ended_count` of its requests had ended."""

    __slots__ = ("ended_count", "since")

    def __init__(self, since: float, ended_count: int) -> None:
        self.since = since
        self.ended_count = ended_count


class Directory:
    """`known`: commands by name. `forgotten` holds the counts of forgotten commands that were not listed, and
    `ended_before` the outcomes of all that were forgotten. `targets` and `named`: the routes of targets, of which those
    of a forgotten command are removed."""

    __slots__ = (
        "_gone",
        "_listed_count",
        "_named",
        "_targets",
        "_unlisted",
        "choice",
        "ended_before",
        "forgotten",
        "gathering",
        "known",
    )

    def __init__(
        self,
        choice: StrategyChoice,
        gathering: Gathering,
        targets: OrderedDict[Route, object],
        named: OrderedDict[Route, str],
    ) -> None:
        self.choice = choice
        self.gathering = gathering
        self.known: dict[str, Command] = {}
        self.forgotten = Command(OTHER)
        self.ended_before: defaultdict[str, int] = defaultdict(int)
        self._targets = targets
        self._named = named
        self._listed_count = 0
        self._unlisted: OrderedDict[Command, float] = OrderedDict()
        """Those that are served and not listed, in the order in which they will be, and since when."""
        self._gone: tuple[OrderedDict[Command, Gone], OrderedDict[Command, Gone]] = (
            OrderedDict(),
            OrderedDict(),
        )
        """Those that are not listed, and those that are; the first to be forgotten first."""

    @property
    def expires_at(self) -> float:
        """When to call `look` next if there are no workers."""
        return min(
            (next(iter(gone.values())).since + COMMAND_KEPT_S for gone in self._gone if gone), default=NEVER
        )

    def new_count(self, names: Iterable[str]) -> int:
        """How many of these are not known (duplicates count once): they would have to be made."""
        return len(set(names).difference(self.known))

    def serve(self, name: str, now: float) -> Command:
        """The command of this name, which one more worker has."""
        command = self.known.get(name)
        if command is None:
            awaited = self.gathering.awaited
            command = self.known[name] = awaited.pop(name) if name in awaited else Command(name)
            command.strategy = self.choice.name_for(name)
        command.workers_count += 1
        self._gone[command.is_listed].pop(command, None)
        if not command.is_listed:
            if self._listed_count < COMMANDS_LISTED_COUNT_MAX:
                self._list(command)
            elif command not in self._unlisted:
                self._unlisted[command] = now
        return command

    def leave(self, commands: Iterable[Command], now: float) -> None:
        """One worker less has these."""
        is_crowded = len(self.known) > COMMANDS_KNOWN_COUNT_MAX
        for command in commands:
            command.workers_count -= 1
            if command.workers_count:
                continue
            self._unlisted.pop(command, None)
            if is_crowded and not command.waiting_count:
                self._forget(command)
            else:
                self._gone[command.is_listed][command] = Gone(now, command.ended_count)

    def look(self, now: float) -> None:
        """The periodic check: forget what was gone for long enough, and not requested meanwhile; and list what has been
        served for long enough, if there is room, or one that is gone in the list."""
        for gone in self._gone:
            for command, entry in list(islice(gone.items(), CHANGED_COUNT_MAX)):
                if entry.since + COMMAND_KEPT_S > now:
                    break
                del gone[command]
                if command.ended_count != entry.ended_count:
                    gone[command] = Gone(now, command.ended_count)
                else:
                    self._forget(command)
        for command, since in list(islice(self._unlisted.items(), CHANGED_COUNT_MAX)):
            if since + LISTED_AFTER_S > now or not self._make_room():
                break
            del self._unlisted[command]
            self._list(command)

    def stop_gathering(self) -> None:
        """Wait no longer for commands that no worker has served since the start. Call it when no request waits for
        them."""
        for command in self.gathering.end():
            self._remove_targets(command)
            self.gathering.unknown.absorb(command)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Whether one more can be listed, if need be in the place of one that is gone."""
        if self._listed_count < COMMANDS_LISTED_COUNT_MAX:
            return True
        displaced = next((command for command in self._gone[True] if not command.waiting_count), None)
        if displaced is None:
            return False
        del self._gone[True][displaced]
        self._forget(displaced)
        return True

    def _list(self, command: Command) -> None:
        """A counter never falls: what OTHER has counted of it stays there."""
        if command.outcomes:
            self.forgotten.absorb(command)
        self._listed_count += 1
        command.show()

    def _forget(self, command: Command) -> None:
        if command.is_listed:
            self._listed_count -= 1
        elif command.outcomes:
            self.forgotten.absorb(command)
        del self.known[command.name]
        for outcome, count in command.outcomes.items():
            self.ended_before[outcome] += count
        self._remove_targets(command)

    def _remove_targets(self, command: Command) -> None:
        for route in command.targeted.values():
            if self._named.pop(route, None) is None:
                del self._targets[route]
