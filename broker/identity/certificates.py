"""Names in client certificates: subject alternative names, as `DNS:worker-7.example` or `URI:spiffe://...`.

The common name of a subject is not used (RFC 9525, 2).
"""

import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

KINDS: Final = {"dns": "DNS", "uri": "URI", "email": "email", "ip": "IP", "ip address": "IP"}
"""Kinds of name by their spelling in a file or in `ssl`, in lower case."""

NAMES_COUNT_MAX: Final = 100
"""Names of a certificate that are read."""


def certificate_name(text: str) -> str:
    """A name as it is compared. Raises ValueError."""
    kind, colon, value = text.partition(":")
    kind = KINDS.get(kind.strip().lower(), "")
    if not colon or not kind or not value:
        raise ValueError(
            "expected a subject alternative name such as DNS:worker-7.example or URI:spiffe://..."
        )
    return _compared(kind, value)


def names_in(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a certificate, as `ssl.SSLSocket.getpeercert` describes it."""
    names = certificate.get("subjectAltName", ())[:NAMES_COUNT_MAX]
    return tuple(_compared(KINDS[kind.lower()], value) for kind, value in names if kind.lower() in KINDS)


def _compared(kind: str, value: str) -> str:
    """Names of hosts in lower case, addresses in their shortest form."""
    if kind == "DNS" and value.isascii():
        value = value.lower()
    elif kind == "IP":
        with contextlib.suppress(ValueError):
            value = str(ipaddress.ip_address(value.strip()))
    return f"{kind}:{value}"
