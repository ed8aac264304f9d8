"""Verifies a JWT (RFC 7519) and reads who it is about: signature first, then each claim, against times passed in.

PyJWT verifies the signature. The claims are checked here, because PyJWT reads the clock for them. No error quotes the
token.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import jwt

from ...protocol.limits import TOKEN_LENGTH_MAX
from .grants import Grants
from .jwt_terms import JwtTerms, VerificationKey
from .login import LoginRefused
from .names import name_fault
from .tables import GrantTable, converted

LIFETIME_S_MAX: Final = 366 * 86400.0
"""How far ahead `exp` may be. A JWT cannot be revoked by itself: what must last longer should be a token of the access
file, which can be."""

TRIALS_COUNT_MAX: Final = 10
"""Keys that a signature is checked against, some 0.1 ms each: a stranger can send any number of signatures."""

ERROR_LENGTH_MAX: Final = 300
"""Characters of what is wrong with the claim."""

_JWS: Final = jwt.PyJWS()


class KeyNotFound(LoginRefused):
    """No key has the key id of the token."""


class Verified(NamedTuple):
    """What a JWT proves: whose it is, what its claim grants, by which key, and until when, in seconds since the epoch,
    leeway included."""

    name: str
    grants: Grants
    key: VerificationKey
    expires_at_wall: float


def verified(token: str, terms: JwtTerms, keys: tuple[VerificationKey, ...], wall_now: float) -> Verified:
    """What `token` proves, if one of `keys` has signed it. Raises LoginRefused."""
    if len(token) > TOKEN_LENGTH_MAX:
        raise LoginRefused(f"the token has over {TOKEN_LENGTH_MAX} characters (TOKEN_LENGTH_MAX)")
    key, payload = _signed(token, _candidates(_header(token), keys))
    expires_at = _expiry(payload, terms.leeway_s, wall_now)
    _check_start(payload, terms.leeway_s, wall_now)
    _check_audience(payload, terms.audience)
    if terms.issuer is not None and payload.get("iss") != terms.issuer:
        raise LoginRefused("the token is from another issuer (iss)")
    return Verified(_name(payload), _grants(payload, terms.claim), key, expires_at)


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise LoginRefused("the token is not a valid JWT") from None


def _candidates(header: dict[str, Any], keys: tuple[VerificationKey, ...]) -> list[VerificationKey]:
    """The keys that may have signed a token with this header: those with its `kid`, else those without an id."""
    algorithm, key_id = header.get("alg"), header.get("kid")
    able = [key for key in keys if key.algorithm == algorithm]
    if not able:
        raise KeyNotFound("no key here is for the algorithm of the token (alg)")
    if key_id is not None:
        named = [key for key in able if key_id == (key.name if key.key_id is None else key.key_id)]
        able = named or [key for key in able if key.key_id is None]
    if not able:
        raise KeyNotFound("no key here has the key id of the token (kid)")
    if len(able) > TRIALS_COUNT_MAX:
        raise LoginRefused(
            f"the token does not say which of {len(able)} keys has signed it (kid), and at most {TRIALS_COUNT_MAX} "
            "are tried (TRIALS_COUNT_MAX)"
        )
    return able


def _signed(token: str, keys: Iterable[VerificationKey]) -> tuple[VerificationKey, dict[str, Any]]:
    """The key that has signed it, and its claims."""
    for key in keys:
        try:
            content = _JWS.decode(token, key.key, algorithms=[key.algorithm])
            payload = json.loads(content)
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            break
        if isinstance(payload, dict):
            return key, payload
        break
    else:
        raise KeyNotFound("the signature of the token is not that of a key here")
    raise LoginRefused("the token is not a valid JWT")


def _expiry(payload: dict[str, Any], leeway_s: float, wall_now: float) -> float:
    expires_at = _time(payload, "exp")
    if expires_at is None:
        raise LoginRefused("the token never expires (exp is missing)")
    if expires_at + leeway_s <= wall_now:
        raise LoginRefused("the token has expired")
    if expires_at - wall_now > LIFETIME_S_MAX:
        days = LIFETIME_S_MAX / 86400
        raise LoginRefused(f"the token expires in over {days:.0f} days (exp, LIFETIME_S_MAX)")
    return expires_at + leeway_s


def _check_start(payload: dict[str, Any], leeway_s: float, wall_now: float) -> None:
    starts_at = _time(payload, "nbf")
    if starts_at is not None and starts_at - leeway_s > wall_now:
        raise LoginRefused("the token is not valid yet (nbf)")


def _check_audience(payload: dict[str, Any], audience: str) -> None:
    found = payload.get("aud")
    audiences = found if isinstance(found, list) else [found]
    if audience not in audiences:
        raise LoginRefused(
            "the token is for another audience (aud)" if found else "the token is for no audience (aud)"
        )


def _name(payload: dict[str, Any]) -> str:
    subject = payload.get("sub")
    if not isinstance(subject, str):
        raise LoginRefused("the token names nobody (sub is missing, or not a text)")
    if fault := name_fault(subject):
        raise LoginRefused(f"the token's subject is not a name (sub): {fault}")
    return subject


def _grants(payload: dict[str, Any], claim: str) -> Grants:
    if claim not in payload:
        return Grants()
    try:
        return converted(payload[claim], GrantTable).grants()
    except ValueError as error:
        text = f"the token's rights cannot be read (claim {claim}): {error}"
        raise LoginRefused(text[:ERROR_LENGTH_MAX]) from None


def _time(payload: dict[str, Any], claim: str) -> float | None:
    """A time (RFC 7519, NumericDate). None if it is missing."""
    if claim not in payload:
        return None
    value = payload[claim]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        if math.isfinite(seconds):
            return seconds
    raise LoginRefused(f"the token's {claim} is not a time")
