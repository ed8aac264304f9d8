"""Access files for tests: identities, each with a token that its name gives away."""

import hashlib
from pathlib import Path

from taskferry.broker.identity.access_file import parsed
from taskferry.broker.identity.policy import Policy


def token_of(name: str) -> str:
    """A static token: as long as real ones are."""
    return f"tfk_{name:x<43}"


def bearer(name: str) -> dict[str, str]:
    """The header with its token, by lower-case name."""
    return {"authorization": f"Bearer {token_of(name)}"}


def access_file(extra: str = "", /, **rights: str) -> str:
    """A file with these identities, given by the lines of their rights."""
    lines = [extra]
    for name, granted in rights.items():
        digest = hashlib.sha256(token_of(name).encode()).hexdigest()
        tokens = "" if "tokens =" in granted else f'tokens = [{{ sha256 = "{digest}" }}]'
        lines += [f"[identities.{name}]", granted, tokens]
    return "\n".join(lines)


def expiring(name: str, date: str) -> str:
    """The line of a token that expires at this date and time of TOML."""
    digest = hashlib.sha256(token_of(name).encode()).hexdigest()
    return f'tokens = [{{ sha256 = "{digest}", expires = {date} }}]'


def policy(extra: str = "", /, **rights: str) -> Policy:
    """What such a file says."""
    return parsed(access_file(extra, **rights).encode(), Path("access.toml"))
