"""Decides who is at the other end, by the policy in force.

Reads no clock: each call is passed `now`, on the monotonic clock, and `wall_now`, seconds since the epoch. What proves
an identity until some date is valid until that moment of the monotonic clock, so that a jump of the wall clock ends no
login.
"""

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..access.identity import ANONYMOUS, Identity
from ..access.rights import EVERYTHING, NOTHING, Rights
from .certificates import expiry_of, names_in
from .grants import NO_GRANTS, Grants
from .jwt_terms import JwtTerms, VerificationKey
from .login import CertificateProof, Credential, JwtProof, Login, LoginRefused, Proof, TokenProof
from .policy import Policy, StaticToken
from .static_token import digest_of, label_of

if TYPE_CHECKING:
    from .key_urls import KeyUrls

UNKNOWN_TOKEN: Final = "the token is not known here"
"""For a token that never was, and for one that was revoked."""

EXPIRED_TOKEN: Final = "the token has expired"
EXPIRED_CERTIFICATE: Final = "the certificate has expired"

JWT_DOTS_COUNT: Final = 2
"""Dots of a signed JWT, between its header, its claims and its signature."""

VERIFIED_COUNT_MAX: Final = 10_000
"""JWTs that are remembered as verified, the latest: a client that comes back costs a look-up."""

RIGHTS_COUNT_MAX: Final = 10_000
"""Different rights of JWTs that are remembered, so that connections of one identity share a gate."""

RETRY_AFTER_S: Final = 1.0
"""How soon to come back when keys are being fetched, which takes less."""


class Authenticator:
    """`policy`: the one in force. To be used by one thread. `withdrawn` is called in another one when an issuer has
    withdrawn a key: logins should be judged again."""

    def __init__(self, policy: Policy, withdrawn: Callable[[], None] = lambda: None) -> None:
        self.policy = policy
        self._withdrawn = withdrawn
        self._is_started = False
        self._urls: KeyUrls | None = None
        self._verified: dict[bytes, Login] = {}
        self._rights: dict[tuple[str, Grants], Rights] = {}
        self.take(policy)

    def start(self) -> None:
        """Fetch keys from the URLs of the policy, if it has any, and of those that it will have."""
        self._is_started = True
        if self._urls is not None:
            self._urls.start()

    def stop(self) -> None:
        """Fetch no more."""
        if self._urls is not None:
            self._urls.stop()

    def fetch_keys(self, now: float) -> None:
        """Fetch keys once, in place of `start`. Blocks."""
        if self._urls is not None:
            self._urls.fetch_due(now)

    def is_known(self, credential: Credential) -> bool:
        """Whether `login` costs no more than a look-up."""
        if credential.token is None or self.policy.is_open:
            return True
        digest = digest_of(credential.token)
        return digest in self.policy.tokens or digest in self._verified

    def login(self, credential: Credential, now: float, wall_now: float) -> Login:
        """Who this is. A token is judged before a certificate. Without either, or without an access file, it is a
        stranger. Raises LoginRefused."""
        if self.policy.is_open:
            return self._stranger()
        if credential.token is not None:
            return self._by_token(credential.token, now, wall_now)
        if credential.certificate:
            ends_at = expiry_of(credential.certificate)
            expires_at = None if ends_at is None else now + ends_at - wall_now
            if _is_over(
                expires_at, now
            ):  # verified once, by the handshake of a connection that is open ever since
                raise LoginRefused(EXPIRED_CERTIFICATE)
            return self._by_certificate(names_in(credential.certificate), expires_at)
        return self._stranger()

    def judge_again(self, login: Login, now: float, wall_now: float) -> Login | None:
        """What a login is worth under the policy in force. None if it is worth nothing."""
        identity = login.identity
        if self.policy.is_open:
            return Login(identity._replace(rights=EVERYTHING), login.proof)
        match login.proof:
            case TokenProof(digest=digest):
                found = self.policy.tokens.get(digest)
                if found is None or found.identity != identity.name:
                    return None
                if found.expires_at_wall == login.proof.expires_at_wall:
                    expires_at = identity.expires_at
                else:
                    expires_at = _expires_at(found, now, wall_now)
                return None if _is_over(expires_at, now) else self._of_token(found, expires_at)
            case CertificateProof(names=names):
                if _is_over(identity.expires_at, now):
                    return None
                try:
                    again = self._by_certificate(names, identity.expires_at)
                except LoginRefused:
                    return None
                return again if again.identity.name == identity.name else None
            case JwtProof() as proof:
                return self._jwt_again(identity, proof, now)
        return self._stranger()

    def take(self, policy: Policy) -> None:
        """Put another policy in force. Logins are judged by it only when `judge_again` is called."""
        self.policy = policy
        self._verified.clear()
        self._rights.clear()
        urls = policy.jwt.urls if policy.jwt is not None else ()
        if urls and self._urls is None:
            from .key_urls import KeyUrls  # noqa: PLC0415  cryptography, which most brokers need not load

            self._urls = KeyUrls(self._withdrawn)
        if self._urls is not None:
            self._urls.take(urls)
            if self._is_started:
                self._urls.start()

    def _stranger(self) -> Login:
        return Login(Identity(ANONYMOUS, self.policy.anonymous))

    def _by_token(self, token: str, now: float, wall_now: float) -> Login:
        digest = digest_of(token)
        found = self.policy.tokens.get(digest)
        if found is not None and hmac.compare_digest(found.digest, digest):
            expires_at = _expires_at(found, now, wall_now)
            if _is_over(expires_at, now):
                raise LoginRefused(EXPIRED_TOKEN)
            return self._of_token(found, expires_at)
        if self.policy.jwt is None or token.count(".") != JWT_DOTS_COUNT:
            raise LoginRefused(UNKNOWN_TOKEN)
        known = self._verified.get(digest)
        if known is not None and not _is_over(known.identity.expires_at, now) and self._has_key(known.proof):
            return known
        self._verified.pop(digest, None)  # so that it is unknown from here on, and its address is slowed down
        return self._by_jwt(token, digest, self.policy.jwt, now, wall_now)

    def _by_jwt(self, token: str, digest: bytes, terms: JwtTerms, now: float, wall_now: float) -> Login:
        from .jwt_login import KeyNotFound, verified  # noqa: PLC0415  as above

        try:
            found = verified(token, terms, self._keys(), wall_now)
        except KeyNotFound as error:
            if self._urls is not None and self._urls.hurry(now):
                raise LoginRefused(f"{error}; keys are being fetched", RETRY_AFTER_S) from None
            raise
        rights = self._rights_of(found.name, found.grants)
        expires_at = now + found.expires_at_wall - wall_now
        identity = Identity(found.name, rights, expires_at, f"key {found.key.name}")
        proof = JwtProof(found.key.fingerprint, terms.audience, terms.issuer, terms.claim, found.grants)
        if len(self._verified) >= VERIFIED_COUNT_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = Login(identity, proof)
        return self._verified[digest]

    def _jwt_again(self, identity: Identity, proof: JwtProof, now: float) -> Login | None:
        terms = self.policy.jwt
        if terms is None or _is_over(identity.expires_at, now) or not self._has_key(proof):
            return None
        if (proof.audience, proof.issuer, proof.claim) != (terms.audience, terms.issuer, terms.claim):
            return None
        try:
            rights = self._rights_of(identity.name, proof.grants)
        except LoginRefused:
            return None
        return Login(identity._replace(rights=rights), proof)

    def _rights_of(self, name: str, grants: Grants) -> Rights:
        """What the file and a JWT grant together; the same object each time. Raises LoginRefused."""
        configured = self.policy.rights_of(name)
        if grants == NO_GRANTS:
            return configured
        rights = self._rights.get((name, grants))
        if rights is None:
            try:
                rights = grants.rights()
                if configured is not NOTHING:
                    rights = configured.joined_with(rights)
            except ValueError as error:
                raise LoginRefused(f"the token's rights cannot be used: {error}") from None
            if len(self._rights) >= RIGHTS_COUNT_MAX:
                self._rights.clear()
            self._rights[name, grants] = rights
        return rights

    def _has_key(self, proof: Proof | None) -> bool:
        return isinstance(proof, JwtProof) and any(key.fingerprint == proof.key for key in self._keys())

    def _keys(self) -> tuple[VerificationKey, ...]:
        fixed = self.policy.jwt.keys if self.policy.jwt is not None else ()
        return fixed if self._urls is None else fixed + self._urls.keys

    def _of_token(self, found: StaticToken, expires_at: float | None) -> Login:
        rights = self.policy.rights_of(found.identity)
        identity = Identity(found.identity, rights, expires_at, f"token {label_of(found.digest)}")
        return Login(identity, TokenProof(found.digest, found.expires_at_wall))

    def _by_certificate(self, names: tuple[str, ...], expires_at: float | None) -> Login:
        known = {self.policy.certificates[name] for name in names if name in self.policy.certificates}
        if len(known) > 1:
            raise LoginRefused("the certificate has names of several identities")
        if not known:
            return Login(Identity(ANONYMOUS, self.policy.anonymous, proof="certificate of no identity"))
        (name,) = known
        identity = Identity(name, self.policy.rights_of(name), expires_at, "certificate")
        return Login(identity, CertificateProof(names))


def _expires_at(token: StaticToken, now: float, wall_now: float) -> float | None:
    """On the monotonic clock."""
    return None if token.expires_at_wall is None else now + token.expires_at_wall - wall_now


def _is_over(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and expires_at <= now
