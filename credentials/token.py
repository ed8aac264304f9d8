"""A bearer token, which is shown nowhere: not by repr, in an error, in a traceback's locals, nor in a pickle."""

import re
from typing import Final, NoReturn

from ..protocol.limits import TOKEN_LENGTH_MAX

_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""Those of a bearer token (RFC 6750, 2.1)."""


class Token:
    """The text of a token. `reveal` it only in the expression that sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "<token>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not pickled or copied: make the object again, with its token")


def problem_of(value: object) -> str | None:
    """Why it cannot be a token, in words that follow "the token"; None if it can. Quotes nothing of it."""
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not a text"
    if not value:
        return "is empty"
    if len(value) > TOKEN_LENGTH_MAX:
        return f"has {len(value)} characters, at most {TOKEN_LENGTH_MAX} are allowed"
    if value != value.strip():
        return "starts or ends with white space: strip it"
    if _CHARACTERS.fullmatch(value) is None:
        return "has other characters than letters, digits and - . _ ~ + / ="
    return None
