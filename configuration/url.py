"""URLs as they may be shown: with host and path, without credentials."""

import re
from typing import Final

_PARTS: Final = re.compile(
    r"(?P<scheme>[^:/?#]*://)?(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL
)


def without_secrets(url: str) -> str:
    """`url` without user, password, query and fragment, any of which may hold a token. `...` marks what was left out.
    Accepts any text."""
    parts = _PARTS.fullmatch(url)
    assert parts is not None, "every part may be empty"
    scheme, authority, path, rest = parts["scheme"] or "", parts["authority"], parts["path"], parts["rest"]
    user, at, place = authority.rpartition("@")
    return f"{scheme}{'...@' if user or at else ''}{place}{path}{rest[:1]}{'...' if rest[1:] else ''}"
