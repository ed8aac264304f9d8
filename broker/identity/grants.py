"""What an access file, or a JWT, grants and denies: a value that can be compared and shown, and becomes `Rights`."""

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

    def rights(self) -> Rights:
        """As rights; the objects EVERYTHING and NOTHING for these. Raises ValueError, with a text for people."""
        if "admin" in self.roles and not self.denied:
            return EVERYTHING
        if self == NO_GRANTS:
            return NOTHING
        return Rights(self.roles, dict(self.granted), dict(self.denied))


NO_GRANTS = Grants()
