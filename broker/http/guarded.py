"""Who may see what on the HTTP port: every request passes the entrance before any view sees it.

The rule is by method and path, and closed by default: whatever is not a probe needs a right, be there such a path or
not.
"""

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ...transport.admission import Refusal
from ..access.rights import Action
from ..entrance import Entrance

OPEN_TO_ALL: Final = frozenset({"/healthz", "/readyz"})
"""Probes have no credentials, and see nothing but that the broker runs."""

CERTIFICATE: Final = "certificate"
"""Where in the state of a connection its client's certificate is, or None."""

NO_WEBSOCKET: Final = (
    "this is the HTTP port of a broker; workers and requesters connect to others, by default 8765 and 8766\n"
)
"""The answer to a WebSocket handshake, whoever asks: it is meant for another port."""

_READING: Final = frozenset({"GET", "HEAD"})


class Guarded:
    """`app`, of which only those see anything whom `entrance` lets in."""

    def __init__(self, app: ASGIApp, entrance: Entrance) -> None:
        self._app = app
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        if headers.get("upgrade", "").lower() == "websocket":
            await PlainTextResponse(NO_WEBSOCKET, HTTPStatus.MISDIRECTED_REQUEST)(scope, receive, send)
            return
        peer_host = scope["client"][0] if scope.get("client") else ""
        certificate = scope.get("state", {}).get(CERTIFICATE)
        admitted = self._entrance.admit_http(headers, peer_host, certificate, action_of(scope))
        if isinstance(admitted, Refusal):
            body = msgspec.json.encode({"error": admitted.text})
            answer = Response(body, admitted.status, dict(admitted.headers), "application/json")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def action_of(scope: Scope) -> Action | None:
    """What a request does, for which a right is needed. None: anyone may."""
    if scope["method"] not in _READING:
        return Action.OPERATE
    return None if scope["path"] in OPEN_TO_ALL else Action.OBSERVE


def _headers(scope: Scope) -> dict[str, str]:
    """By name. HTTP/1.0 knows no Host, and load balancers probe with it; browsers do not speak it."""
    headers = {"host": "localhost"} if scope["http_version"] == "1.0" else {}
    seen: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        seen[key] = f"{seen[key]}, {text}" if key in seen else text
    return headers | seen
