"""What an access file, or a JWT, grants and denies: a value that can be joined with another, and becomes `Rights`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ..access.rights import EVERYTHING, NOTHING, Action, Rights

Patterns: TypeAlias = tuple[tuple[Action, tuple[str, ...]], ...]
"""Patterns by action."""


@dataclass(frozen=True, slots=True)
class Grants:
    """`roles`: names of ROLES. `granted` and `denied`: patterns by action."""

    roles: tuple[str, ...] = ()
    granted: Patterns = ()
    denied: Patterns = ()

    def __or__(self, other: "Grants") -> "Grants":
        """What both grant together, less what either denies."""
        return Grants(
            self.roles + tuple(role for role in other.roles if role not in self.roles),
            _joined(self.granted + other.granted),
            _joined(self.denied + other.denied),
        )

    def rights(self) -> Rights:
        """As rights. EVERYTHING and NOTHING if it grants that, because these are compared by identity."""
        if "admin" in self.roles and not self.denied:
            return EVERYTHING
        if not self.roles and not self.granted:
            return NOTHING
        return Rights(self.roles, dict(self.granted), dict(self.denied))


def _joined(patterns: Iterable[tuple[Action, tuple[str, ...]]]) -> Patterns:
    by_action: dict[Action, tuple[str, ...]] = {}
    for action, texts in patterns:
        known = by_action.get(action, ())
        by_action[action] = known + tuple(text for text in texts if text not in known)
    return tuple(by_action.items())
