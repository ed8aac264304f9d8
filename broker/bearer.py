"""Where a peer may put its token, and what a token looks like: RFC 6750, and the sub-protocols of browsers."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from ..protocol.encodings import TOKEN_SUBPROTOCOL
from ..protocol.limits import TOKEN_LENGTH_MAX

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""RFC 6750, 2.1. Static tokens and JWTs are such."""


class BadToken(Exception):
    """What was presented cannot be a token. `status`: of the answer. The text quotes nothing."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


def token_in(headers: Mapping[str, str]) -> str | None:
    """The bearer token in the head of a request, from `Authorization` or, as browsers must, from the sub-protocols;
    None if there is none. `headers` by lower-case name, repeated ones joined with ", ". Raises BadToken."""
    tokens = set()
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise BadToken(HTTPStatus.UNAUTHORIZED, "authorization: expected Bearer and a token")
        tokens.add(token.strip(" "))
    for name in headers.get("sec-websocket-protocol", "").split(","):
        offered = name.strip(" \t")
        if offered.startswith(TOKEN_SUBPROTOCOL):
            tokens.add(offered.removeprefix(TOKEN_SUBPROTOCOL))
    if not tokens:
        return None
    if len(tokens) > 1:
        raise BadToken(HTTPStatus.BAD_REQUEST, "there are two different tokens")
    (token,) = tokens
    if len(token) > TOKEN_LENGTH_MAX:
        raise BadToken(
            HTTPStatus.UNAUTHORIZED, f"the token has over {TOKEN_LENGTH_MAX} characters (TOKEN_LENGTH_MAX)"
        )
    if _TOKEN.fullmatch(token) is None:
        raise BadToken(HTTPStatus.UNAUTHORIZED, "the token has characters that no token has, or is empty")
    return token
