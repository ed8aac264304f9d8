"""By which names the broker may be addressed, and from which web pages: what stops a browser from being turned on it.

A browser connects wherever a page wants, and sends along where it connects to (`Host`) and whose page wants it
(`Origin`). A page may not pose as this machine's user, so its origin must be known. A page may also give its own name
this machine's address (DNS rebinding, https://crypto.stanford.edu/dns/dns-rebinding.pdf), so the name must be known,
too. Addresses need no check: no page comes from an address that is not its server's.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

_TOKEN_PREFIX: Final = "tfk_"
"""Whoever puts a token in the place of a name must not find it quoted in a log."""

NAME_LENGTH_MAX: Final = 253
"""Characters of a host name (RFC 1035, 2.3.4, written out)."""

HOST_RULE: Final = (
    "expected a host name in ASCII, without scheme, port and path, such as broker.example.com; "
    "*.example.com allows all names below example.com, and addresses are always allowed"
)
ORIGIN_RULE: Final = "expected SCHEME://HOST or SCHEME://HOST:PORT without a path, or null"

_LITERAL: Final = r"\[(?P<literal>[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?)\]"
_NAME: Final = r"(?P<name>[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*)\.?"
_AUTHORITY: Final = re.compile(rf"(?:{_LITERAL}|{_NAME})(?::(?P<port>[0-9]{{0,5}}))?")
_SCHEME: Final = re.compile(r"[A-Za-z][0-9A-Za-z+.-]*")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}

NULL_ORIGIN: Final = "null"
"""What browsers send for pages that may not say whose they are: files, sandboxed frames. So anybody can be it."""


class _Place(NamedTuple):
    """Where a URL points: `host` is a name in lower case without its final dot, or an address."""

    host: str | IPv4Address | IPv6Address
    port: str

    @property
    def is_loopback(self) -> bool:
        """Whether a client that connects there stays on its own machine (RFC 6761, 6.3 for names)."""
        if isinstance(self.host, str):
            return self.host == "localhost" or self.host.endswith(".localhost")
        return self.host.is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return f"{host}:{self.port}" if self.port else host


class Hosts:
    """`allowed_hosts` and `allowed_origins`: as configured, checked by `check_host` and `check_origin`. `own_names`:
    what this machine is called, by which it may always be addressed."""

    __slots__ = ("_domains", "_names", "_origins")

    def __init__(
        self, allowed_hosts: Iterable[str], allowed_origins: Iterable[str], own_names: Iterable[str] = ()
    ) -> None:
        names = [_folded(name) for name in (*allowed_hosts, *own_names)]
        self._names = frozenset(names)
        self._domains = tuple(name.removeprefix("*") for name in names if name.startswith("*."))
        self._origins = frozenset(_origin(origin) for origin in allowed_origins) - {None}

    def host_refusal(self, host: str | None) -> str | None:
        """Why a request with this `Host` header is refused, in one line; None if it is not. The values of a repeated
        header are expected joined with ", ", and refused: a host is never two."""
        if host is None:
            return "there is no Host header"
        place = _place(host)
        if place is None:
            return "the Host header is not a host name or address with an optional port"
        if place.is_loopback or not isinstance(place.host, str):
            return None
        if place.host in self._names or place.host.endswith(self._domains):
            return None
        return (
            f"this broker is not known as {place.host}; if it should be, add that to allowed_hosts in [broker] "
            f"(--allowed-host {place.host})"
        )

    def origin_refusal(self, origin: str | None) -> str | None:
        """The same for its `Origin` header. None, which clients other than browsers send, is not refused."""
        if origin is None:
            return None
        known = _origin(origin)
        if known is None:
            return "the Origin header is not an origin"
        if known in self._origins or _is_loopback_origin(known):
            return None
        return (
            f"web pages of {known} may not connect; if they should, add that to allowed_origins in [broker] "
            f"(--allowed-origin {known})"
        )


def check_host(text: str) -> None:
    """Raise ValueError unless `text` can be in allowed_hosts."""
    name = text.removeprefix("*.")
    place = _place(name)
    if place is None or not isinstance(place.host, str) or ":" in name:
        raise ValueError(HOST_RULE)


def check_origin(text: str) -> None:
    """Raise ValueError unless `text` can be in allowed_origins."""
    if _origin(text) is None:
        raise ValueError(ORIGIN_RULE)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to what listens on `host`, a name or an address without brackets."""
    place = _place(f"[{host}]" if ":" in host else host)
    return place is not None and place.is_loopback


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")


def _place(authority: str) -> _Place | None:
    """What a Host header means (RFC 9110, 7.2; RFC 3986, 3.2). None if that is not said by it."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return None
    port, name = parts["port"] or "", parts["name"]
    if name is None:
        try:
            return _Place(IPv6Address(parts["literal"]), port)
        except ValueError:
            return None
    if len(name) > NAME_LENGTH_MAX or _TOKEN_PREFIX in name.lower():
        return None
    try:
        return _Place(ip_address(name), port)
    except ValueError:
        return _Place(name.lower(), port)


def _origin(text: str) -> str | None:
    """An origin as browsers write it (RFC 6454, 6.2): in lower case, without the scheme's own port. Else None."""
    if text == NULL_ORIGIN:
        return text
    scheme, _, authority = text.partition("://")
    place = _place(authority)
    if place is None or _SCHEME.fullmatch(scheme) is None:
        return None
    scheme = scheme.lower()
    if place.port == _DEFAULT_PORTS.get(scheme):
        place = place._replace(port="")
    return f"{scheme}://{place}"


def _is_loopback_origin(origin: str) -> bool:
    """Whether a known origin is a page that this machine serves to itself."""
    scheme, _, authority = origin.partition("://")
    place = _place(authority)
    return scheme in _DEFAULT_PORTS and place is not None and place.is_loopback
