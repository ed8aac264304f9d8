"""What every call and every worker passes before it reaches the core: is this allowed?

Each connection has a gate. It keeps the rights that the connection has used. So the usual decision is one look-up, and
a reload can find out whether one of them is gone.
"""

from collections.abc import Iterable
from typing import Final

from ...protocol.errors import NOT_DELIVERED, Forbidden
from ..core.account import Account
from ..core.call import Target
from ..core.failure import Failure
from .identity import Identity
from .rights import EVERYTHING, Action, Decision, Rights
from .usage import Usage

CALLED_COUNT_MAX: Final = 256
"""Commands that a gate remembers as called; then it starts again. More are made-up names rather than a program's. So
few, so that a reload can check 5,000 connections within a second."""

TARGET_SUBJECTS_COUNT_MAX: Final = 64
"""Labels of a target that are checked, if not every target is allowed. A message may name 1,024."""


class Gate:
    """The gate of one connection, or of one HTTP request.

    `allowed`: commands that were called and are allowed, for callers that check it first; None if everything is
    allowed. It stays the same set, unless `renew` gives or takes everything. `served`: commands that its worker serves.
    `watched`: topics, and patterns of them, that it has subscribed to.
    """

    __slots__ = ("allowed", "identity", "served", "usage", "watched")

    def __init__(self, identity: Identity, usage: Usage) -> None:
        self.identity = identity
        self.usage = usage
        self.allowed: set[str] | None = None if identity.rights is EVERYTHING else set()
        self.served: list[str] = []
        self.watched: dict[str, None] = {}

    @property
    def account(self) -> Account:
        return self.usage.account

    def decide(self, action: Action, subject: str = "") -> Decision:
        """Whether it may, and by which rule. Counts nothing."""
        return self.identity.rights.decide(action, subject)

    def refusal(self, action: Action, subject: str = "") -> Failure | None:
        """Why it may not, counted; None if it may."""
        decision = self.identity.rights.decide(action, subject)
        return None if decision.is_allowed else self._refuse(action, subject, decision.rule)

    def call(self, command: str, target: Target | None) -> Failure | None:
        """Why a call is refused, counted; None if it is not: then `allowed` has the command."""
        allowed = self.allowed
        if allowed is None:
            return None
        if command not in allowed:
            failure = self.refusal(Action.CALL, command)
            if failure is not None:
                return failure
            if len(allowed) >= CALLED_COUNT_MAX:
                allowed.clear()
            allowed.add(command)
        return self.target(target)

    def message(self, kind: str, target: Target | None) -> Failure | None:
        """Why it may not send a message of its own to this target, counted; None if it may."""
        return self.refusal(Action.MESSAGE, kind) or self.target(target)

    def target(self, target: Target | None) -> Failure | None:
        """Why it may not name this target, counted; None if it may."""
        if target is None or self.identity.rights.has_all(Action.TARGET):
            return None
        subjects = subjects_of(target)
        if len(subjects) > TARGET_SUBJECTS_COUNT_MAX:
            rule = f"it has {len(subjects)} values, and at most {TARGET_SUBJECTS_COUNT_MAX} are checked"
            return self._refuse(Action.TARGET, "", rule)
        for subject in subjects:
            failure = self.refusal(Action.TARGET, subject)
            if failure is not None:
                return failure
        return None

    def watch(self, patterns: Iterable[str]) -> Failure | None:
        """Why it may not subscribe to all of these, counted; None if it may."""
        for pattern in patterns:
            decision = self.identity.rights.decide_pattern(Action.WATCH, pattern)
            if not decision.is_allowed:
                return self._refuse(Action.WATCH, pattern, decision.rule)
        return None

    def serve(self, commands: Iterable[str]) -> list[Failure]:
        """A worker offers these commands: `served` has those that it may serve, in their order. Returns why it may not
        serve the others, each counted."""
        failures: list[Failure] = []
        if self.identity.rights.has_all(Action.SERVE):  # one look-up, instead of 2 ms for a thousand
            self.served = list(commands)
            return failures
        self.served = []
        for command in commands:
            failure = self.refusal(Action.SERVE, command)
            if failure is None:
                self.served.append(command)
            else:
                failures.append(failure)
        return failures

    def lost(self, rights: Rights) -> str | None:
        """The first right that was used and is not among `rights`, for people: `call resize: no rule grants it`;
        None if all are. Targets are not remembered: each call with one is decided again. Nor are calls while everything
        is allowed, so each of them counts as gone with the first restriction."""
        if rights.has_rules_of(self.identity.rights):
            return None
        if self.allowed is None and not self.served and not self.watched and not rights.has_all(Action.CALL):
            return "call: not everything is allowed any more"
        for pattern in self.watched:
            watching = rights.decide_pattern(Action.WATCH, pattern)
            if not watching.is_allowed:
                return f"watch {pattern!r}: {watching.rule}"
        for action, subjects in ((Action.SERVE, self.served), (Action.CALL, self.allowed or ())):
            for subject in subjects:
                decision = rights.decide(action, subject)
                if not decision.is_allowed:
                    return f"{action.value} {subject!r}: {decision.rule}"
        return None

    def renew(self, identity: Identity) -> None:
        """The connection has logged in again, or its identity's rights have changed: they apply from the next call
        on."""
        self.identity = identity
        if identity.rights is EVERYTHING:
            self.allowed = None
        elif self.allowed is None:
            self.allowed = set()
        else:
            kept = [command for command in self.allowed if self.decide(Action.CALL, command).is_allowed]
            self.allowed.clear()
            self.allowed.update(kept)

    def _refuse(self, action: Action, subject: str, rule: str) -> Failure:
        self.usage.counts.forbidden[action] += 1
        what = f"{action.value} {subject!r}" if subject else action.value
        if action is Action.JOBS:
            what = "see or change jobs"
        text = f"{self.identity.name} may not {what}: {rule}"
        return Failure(Forbidden.code, text, None, NOT_DELIVERED)


def subjects_of(target: Target) -> list[str]:
    """What patterns over targets match: a worker_id, or each label with each of its values as `KEY=VALUE`."""
    if isinstance(target, str):
        return [target]
    return [f"{key}={value}" for key, values in target.items() for value in _each(values)]


def _each(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values
