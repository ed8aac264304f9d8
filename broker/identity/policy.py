"""What an access file says, once it has been checked: immutable, and replaced as a whole by a reload."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..access.identity import ANONYMOUS
from ..access.rights import EVERYTHING, NOTHING, Rights
from .grants import NO_GRANTS, Grants
from .jwt_terms import JwtTerms


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token of the file. `digest`: its SHA-256. `expires_at_wall`: seconds since the epoch, None: never."""

    identity: str
    digest: bytes
    expires_at_wall: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ConfiguredIdentity:
    """One identity of the file. `limits`: in place of the broker's defaults, by name."""

    name: str
    grants: Grants
    rights: Rights
    limits: Mapping[str, float] = field(default_factory=dict)
    tokens: tuple[StaticToken, ...] = ()
    certificates: tuple[str, ...] = ()


STRANGER: Final = ConfiguredIdentity(ANONYMOUS, NO_GRANTS, NOTHING)
"""May do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`is_open`: there is no access file, and everyone may do everything. `stranger`: what holds for those who have
    proven nothing. `tokens` by digest; `certificates`: the name of the identity by subject alternative name;
    `warnings`: lines for the operator."""

    is_open: bool = False
    stranger: ConfiguredIdentity = STRANGER
    identities: Mapping[str, ConfiguredIdentity] = field(default_factory=dict)
    tokens: Mapping[bytes, StaticToken] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    jwt: JwtTerms | None = None
    warnings: tuple[str, ...] = ()

    @property
    def anonymous(self) -> Rights:
        """What a stranger may do."""
        return self.stranger.rights

    def rights_of(self, name: str) -> Rights:
        """What the file grants to `name`, the same object each time. NOTHING for a name that it does not have."""
        if name == ANONYMOUS:
            return self.stranger.rights
        found = self.identities.get(name)
        return NOTHING if found is None else found.rights

    def limits_of(self, name: str) -> Mapping[str, float]:
        """The limits of `name` that replace the broker's defaults."""
        if name == ANONYMOUS:
            return self.stranger.limits
        found = self.identities.get(name)
        return {} if found is None else found.limits


OPEN: Final = Policy(is_open=True, stranger=ConfiguredIdentity(ANONYMOUS, Grants(("admin",)), EVERYTHING))
"""Without an access file."""
