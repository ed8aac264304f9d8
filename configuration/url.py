"""URLs for people: with the place that they lead to, and without what lets somebody in there.

Knows the outline of a URL and nothing of what is behind it.
"""

import re
from typing import Final

_PARTS: Final = re.compile(
    r"(?P<scheme>[^:/?#]*://)?(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL
)


def without_secrets(url: str) -> str:
    """`url` without user, password, query and fragment: a token stands in any of these. What was left out shows as
    `...`. Takes any text, also one that is no URL."""
    parts = _PARTS.fullmatch(url)
    assert parts is not None, "every part may be empty"
    scheme, authority, path, rest = parts["scheme"] or "", parts["authority"], parts["path"], parts["rest"]
    user, at, place = authority.rpartition("@")
    return f"{scheme}{'...@' if user or at else ''}{place}{path}{rest[:1]}{'...' if rest[1:] else ''}"
