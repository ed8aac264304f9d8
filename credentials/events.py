"""Every line about a client's own login: names, levels and fields. docs/log.md is written from them.

No field may hold a token.
"""

import logging
from typing import ClassVar

from ..log.event import Event


class LoginExpiring(Event, frozen=True):
    """The login of the link to `url` runs out soon, and the token cannot be renewed: it is a fixed text."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "the login at {url} runs out in {expires_in_s:.0f} s and the token is a fixed one; to renew it, use "
        "--token-file, or in code a function as token"
    )
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str
    expires_in_s: float


class RenewalFailed(Event, frozen=True):
    """There was no fresh token for the link to `url`, or the broker refused it. It is tried again until the login runs
    out."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "cannot renew the login at {url}: {reason}"
    same: ClassVar[tuple[str, ...] | None] = ("url", "reason")
    url: str
    reason: str


class LoginRenewed(Event, frozen=True):
    """The broker at `url` has accepted a fresh token."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "renewed the login at {url}"
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str


class TokenUnprotected(Event, frozen=True):
    """A token is sent to another machine without TLS."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "the token is sent to {url} unencrypted: anyone on the way can read it; use {secure}://"
    )
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str
    secure: str


class CertificateUnverified(Event, frozen=True):
    """The certificate of `url` is not checked, because of `--insecure-skip-verify`."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "--insecure-skip-verify: the certificate of {url} is not checked, so that anyone on the way can read and "
        "change what is sent, tokens included"
    )
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str
