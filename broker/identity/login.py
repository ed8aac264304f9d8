"""A login: what was presented, what it proved, and why it was refused. Holds no token, only what a token proved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..access.identity import Identity
from .grants import Grants


@dataclass(frozen=True, slots=True)
class Credential:
    """What a peer presents. `certificate`: its verified certificate, as `ssl.SSLSocket.getpeercert` describes it; used
    only if there is no `token`."""

    token: str | None = None
    certificate: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return (
            f"Credential(token={'...' if self.token else None}, certificate={self.certificate is not None})"
        )


@dataclass(frozen=True, slots=True)
class TokenProof:
    """A token of the access file. `digest`: its SHA-256. `expires_at_wall`: seconds since the epoch, None: never."""

    digest: bytes
    expires_at_wall: float | None


@dataclass(frozen=True, slots=True)
class JwtProof:
    """A JWT. `key`: the fingerprint of the key that it is signed with. `audience`, `issuer`, `claim`: what the policy
    asked for. `grants`: what the claim says."""

    key: bytes
    audience: str
    issuer: str | None
    claim: str
    grants: Grants


@dataclass(frozen=True, slots=True)
class CertificateProof:
    """A client certificate. `names`: its subject alternative names, as in the access file."""

    names: tuple[str, ...]


Proof: TypeAlias = TokenProof | JwtProof | CertificateProof


@dataclass(frozen=True, slots=True)
class Login:
    """Who somebody is. `proof`: what is needed to judge it again under another policy; None for a stranger."""

    identity: Identity
    proof: Proof | None = None


class LoginRefused(Exception):
    """The credential proves nothing. The text is for the peer and for the log, and quotes nothing secret.

    `retry_after_s`: over 0 if the same credential may be accepted then, because keys are being fetched.
    """

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
