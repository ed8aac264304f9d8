"""Who may do what in a run, how that changes, and the same once more as plain sets: what the gates are held to."""

import random
from typing import Final, NamedTuple

from taskferry.broker.access.counts import AccessCounts
from taskferry.broker.access.gate import Gate, subjects_of
from taskferry.broker.access.identity import Identity
from taskferry.broker.access.limits import Limits
from taskferry.broker.access.rights import Action, Rights
from taskferry.broker.access.usage import Usages
from taskferry.broker.core.call import Target

REQUESTER_NAMES: Final = ("alice", "bob")
WORKER_NAMES: Final = ("farm", "lab")
COMMANDS: Final = ("a", "b", "c", "nobody-serves-this")
SUBJECTS: Final = ("w0", "w1", "zone=a", "zone=b", "zone=c")


class Standing(NamedTuple):
    """What an identity may do, and how much."""

    calls: frozenset[str]
    targets: frozenset[str]
    serves: frozenset[str]
    limits: Limits

    def may_call(self, command: str, target: Target | None) -> bool:
        subjects = [] if target is None else subjects_of(target)
        return command in self.calls and self.targets.issuperset(subjects)

    def has(self, called: set[str], served: set[str]) -> bool:
        """Whether it may still call and serve all of these."""
        return called <= self.calls and served <= self.serves


EVERYTHING: Final = Standing(frozenset(COMMANDS), frozenset(SUBJECTS), frozenset(COMMANDS), Limits())


class SimulatedAccess:
    """The access file, as it were. `standings` has each identity that is not revoked."""

    def __init__(self, chance: random.Random) -> None:
        self._random = chance
        self.counts = AccessCounts()
        self.usages = Usages(self.counts)
        self.standings = {name: self._any() for name in (*REQUESTER_NAMES, *WORKER_NAMES)}

    def gate(self, name: str, now: float) -> Gate | None:
        """The gate of a new connection; None if it may not connect."""
        standing = self.standings.get(name)
        if standing is None:
            return None
        usage = self.usages.of(name, standing.limits, now)
        return Gate(self.identity(name), usage) if usage.take_connection() else None

    def identity(self, name: str) -> Identity:
        standing = self.standings[name]
        grants = {
            Action.CALL: sorted(standing.calls),
            Action.TARGET: sorted(standing.targets),
            Action.SERVE: sorted(standing.serves),
        }
        return Identity(name, Rights(grants=grants))

    def change(self, now: float) -> str:
        """Somebody edits the access file. Returns what for."""
        name = self._random.choice((*REQUESTER_NAMES, *WORKER_NAMES))
        what = self._random.choice(["revoke", "change", "change", "permit everything"])
        match what:
            case "revoke":
                self.standings.pop(name, None)
            case "change":
                self.standings[name] = self._any()
            case "permit everything":
                self.standings[name] = EVERYTHING
        self.usages.reconfigure(self._limits_of, now)
        return f"{what}: {name}"

    def _limits_of(self, name: str) -> Limits:
        return self.standings.get(name, EVERYTHING).limits

    def _any(self) -> Standing:
        chance = self._random
        limits = Limits(
            connections_count_max=chance.choice([1, 10_000, 10_000]),
            messages_per_s=chance.choice([0.0, 0.0, 4.0]),
            in_flight_count_max=chance.choice([2, 50_000, 50_000]),
            waiting_size_bytes_max=chance.choice([0, 6, 10_000, 10_000]),
        )
        return Standing(self._most(COMMANDS), self._most(SUBJECTS), self._most(COMMANDS), limits)

    def _most(self, names: tuple[str, ...]) -> frozenset[str]:
        return frozenset(name for name in names if self._random.random() < 0.9)
