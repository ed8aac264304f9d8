"""What every call, worker and question passes before the core sees it: is this allowed to them?

One gate for an identity, however many connections it has: a decision is made once for each subject, and then looked up.
"""

from collections.abc import Iterable
from typing import Final

from ...protocol.errors import NOT_DELIVERED, Forbidden
from ..core.account import Account
from ..core.call import Target
from ..core.failure import Failure
from .identity import Identity
from .rights import EVERYTHING, Action, Decision, Rights

DECISIONS_COUNT_MAX: Final = 10_000
"""Decisions that a gate remembers; then it starts afresh. A requester that makes up names must not fill the memory."""


class Gate:
    """`identity`: whose it is. `account`: what it uses. `allowed`: the commands that have been found allowed, for those
    who look there first; None if every command is."""

    __slots__ = ("_decisions", "account", "allowed", "identity", "refused_count")

    def __init__(self, identity: Identity, account: Account) -> None:
        self.identity = identity
        self.account = account
        self.allowed: set[str] | None = None if identity.rights is EVERYTHING else set()
        self.refused_count: dict[Action, int] = dict.fromkeys(Action, 0)
        self._decisions: dict[tuple[Action, str], Decision] = {}

    @property
    def rights(self) -> Rights:
        return self.identity.rights

    def decide(self, action: Action, subject: str = "") -> Decision:
        """Whether it may, by which rule."""
        key = (action, subject)
        decision = self._decisions.get(key)
        if decision is None:
            if len(self._decisions) >= DECISIONS_COUNT_MAX:
                self._decisions.clear()
                if self.allowed:
                    self.allowed.clear()
            decision = self._decisions[key] = self.rights.decide(action, subject)
        return decision

    def refusal(self, action: Action, subject: str = "") -> Failure | None:
        """Why it may not; None if it may."""
        decision = self.decide(action, subject)
        if decision.is_allowed:
            return None
        self.refused_count[action] += 1
        what = f"{action.value} {subject}" if subject else action.value
        text = f"{self.identity.name} may not {what}: {decision.rule}"
        return Failure(Forbidden.code, text, None, NOT_DELIVERED)

    def call(self, command: str, target: Target | None) -> Failure | None:
        """Why a call is refused; None if it is not. Afterwards `allowed` has the command, unless it was refused."""
        failure = self.refusal(Action.CALL, command)
        if failure is not None:
            return failure
        if self.allowed is not None:
            self.allowed.add(command)
        if target is None:
            return None
        for subject in subjects_of(target):
            failure = self.refusal(Action.TARGET, subject)
            if failure is not None:
                return failure
        return None

    def servable(self, commands: Iterable[str]) -> list[str]:
        """Those of `commands` that it may serve, in their order."""
        return [command for command in commands if self.decide(Action.SERVE, command).is_allowed]


def subjects_of(target: Target) -> list[str]:
    """What patterns over targets match: a worker_id, or each label with each of its values as `KEY=VALUE`."""
    if isinstance(target, str):
        return [target]
    return [f"{key}={value}" for key, values in target.items() for value in _each(values)]


def _each(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values
