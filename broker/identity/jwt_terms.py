"""What a JWT must fulfil: the keys that may have signed it, and the claims that are demanded.

Imports no cryptography: a broker without JWTs does not load it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple


class VerificationKey(NamedTuple):
    """A key for one `algorithm`. `name`: of its entry in the access file. `key_id`: as in the `kid` of tokens; None if
    it has none. `key`: as PyJWT takes it. `fingerprint`: equal for equal keys."""

    name: str
    algorithm: str
    key_id: str | None
    key: Any
    fingerprint: bytes

    def __repr__(self) -> str:
        return f"VerificationKey(name={self.name!r}, algorithm={self.algorithm!r}, key_id={self.key_id!r})"


class KeyUrl(NamedTuple):
    """Where the keys of one entry are fetched from."""

    name: str
    algorithm: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtTerms:
    """`issuer`: None if any will do. `leeway_s`: how far clocks may differ. `claim`: the one that holds rights.
    `keys`: those of files; those of `urls` are fetched."""

    audience: str
    issuer: str | None
    leeway_s: float
    claim: str
    keys: tuple[VerificationKey, ...]
    urls: tuple[KeyUrl, ...]
