"""The identities of an access file as rows and as JSON: what they may do, and what proves them, without any secret."""

import datetime
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..broker.identity.grants import Patterns
from ..broker.identity.policy import ConfiguredIdentity, Policy
from ..broker.identity.static_token import label_of


class Row(NamedTuple):
    """One proof of one identity, or an identity without any."""

    identity: str
    roles: str
    rights: str
    proof: str
    expires: str
    note: str


def rows(policy: Policy, wall_now: float) -> Iterator[Row]:
    """All of them, in the order of the file; strangers last, if they may do something."""
    for identity in policy.identities.values():
        yield from _rows(identity, wall_now)
    if policy.stranger.grants.roles or policy.stranger.grants.granted:
        yield _row(policy.stranger, "nothing")
    if policy.jwt is not None:
        names = [key.name for key in policy.jwt.keys] + [url.name for url in policy.jwt.urls]
        for name in dict.fromkeys(names):
            yield Row("any subject", "", f"claim {policy.jwt.claim}", f"key {name}", "", "")


def plain(policy: Policy) -> dict[str, Any]:
    """For JSON."""
    jwt = policy.jwt
    return {
        "identities": [_plain(identity) for identity in policy.identities.values()],
        "anonymous": _plain(policy.stranger),
        "jwt": jwt
        and {
            "audience": jwt.audience,
            "issuer": jwt.issuer,
            "claim": jwt.claim,
            "keys": [
                *({"name": key.name, "algorithm": key.algorithm, "kid": key.key_id} for key in jwt.keys),
                *({"name": url.name, "algorithm": url.algorithm, "kid": None} for url in jwt.urls),
            ],
        },
    }


def iso(expires_at_wall: float | None) -> str | None:
    """A moment as people and programs read it."""
    if expires_at_wall is None:
        return None
    moment = datetime.datetime.fromtimestamp(expires_at_wall, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def expiry_text(expires_at_wall: float | None, wall_now: float) -> str:
    """When something expires, and how soon that is."""
    if expires_at_wall is None:
        return "never"
    left_s = expires_at_wall - wall_now
    if left_s <= 0:
        return f"{iso(expires_at_wall)}, expired"
    days = left_s / 86400
    return f"{iso(expires_at_wall)}, in {f'{days:.0f} days' if days >= 2 else f'{left_s / 3600:.1f} h'}"


def _rows(identity: ConfiguredIdentity, wall_now: float) -> Iterator[Row]:
    for token in identity.tokens:
        expires = expiry_text(token.expires_at_wall, wall_now)
        yield _row(identity, f"token {label_of(token.digest)}", expires, token.note)
    for name in identity.certificates:
        yield _row(identity, name)
    if not identity.tokens and not identity.certificates:
        yield _row(identity, "none")


def _row(identity: ConfiguredIdentity, proof: str, expires: str = "", note: str = "") -> Row:
    grants = identity.grants
    denied = _text(grants.denied)
    rights = "; ".join(text for text in (_text(grants.granted), f"not {denied}" if denied else "") if text)
    return Row(identity.name, ", ".join(grants.roles), rights, proof, expires, note)


def _text(patterns: Patterns) -> str:
    return ", ".join(f"{action.value} {' '.join(texts)}" for action, texts in patterns)


def _plain(identity: ConfiguredIdentity) -> dict[str, Any]:
    grants = identity.grants
    return {
        "name": identity.name,
        "roles": grants.roles,
        "granted": {action.value: texts for action, texts in grants.granted},
        "denied": {action.value: texts for action, texts in grants.denied},
        "limits": identity.limits,
        "tokens": [
            {
                "token": label_of(token.digest),
                "expires": iso(token.expires_at_wall),
                "note": token.note,
            }
            for token in identity.tokens
        ],
        "certificates": identity.certificates,
    }
