"""Logins that were accepted, refused and ended: plain numbers, for metrics."""

import enum
from collections import Counter
from typing import Final

from ..transport.admission import RefusalReason
from .identity.login import CertificateProof, Credential, JwtProof, Login, TokenProof


class Proof(enum.Enum):
    """What was presented."""

    TOKEN = "token"
    JWT = "jwt"
    CERTIFICATE = "certificate"
    NONE = "none"


class Ended(enum.Enum):
    """Why a link was closed for its login."""

    EXPIRED = "expired"
    REVOKED = "revoked"
    """What proved it is no longer valid, or a login is needed that was not needed before."""
    RIGHT_LOST = "right_lost"
    FAILED_RENEWALS = "failed_renewals"


OUTCOMES: Final = ("accepted", "refused")

HTTP_REASONS: Final = (
    RefusalReason.FORBIDDEN,
    RefusalReason.FOREIGN_HOST,
    RefusalReason.FOREIGN_ORIGIN,
    RefusalReason.RATE_LIMITED,
    RefusalReason.UNAUTHENTICATED,
)
"""Why a request to the HTTP port is not let in; what else is wrong with one is counted by that port."""

_PROOFS: Final = {TokenProof: Proof.TOKEN, JwtProof: Proof.JWT, CertificateProof: Proof.CERTIFICATE}


class EntranceCounts:
    """Counts since the broker started. `logins`: by what was presented and its outcome, those over HTTP and renewals
    included. `ended`: links closed for their login. `kicked`: links closed by an operator, by port. `http_refused`:
    requests to the HTTP port, as links count handshakes."""

    __slots__ = ("ended", "http_refused", "kicked", "logins")

    def __init__(self) -> None:
        self.logins = {(proof, outcome): 0 for proof in Proof for outcome in OUTCOMES}
        self.ended = dict.fromkeys(Ended, 0)
        self.kicked: Counter[str] = Counter()
        self.http_refused = dict.fromkeys(HTTP_REASONS, 0)

    def login_accepted(self, login: Login) -> None:
        proof = Proof.NONE if login.proof is None else _PROOFS[type(login.proof)]
        self.logins[proof, "accepted"] += 1

    def login_refused(self, proof: Proof) -> None:
        self.logins[proof, "refused"] += 1


def presented(credential: Credential) -> Proof:
    """What a credential looks like. A JWT has three parts (RFC 7515, 3.1)."""
    if credential.token is not None:
        return Proof.JWT if credential.token.count(".") == 2 else Proof.TOKEN
    return Proof.NONE if credential.certificate is None else Proof.CERTIFICATE
