"""Every line that a requester itself logs: names, levels and fields. docs/log.md is written from them.

No field may hold data of a request, a handler's own words, or a credential.
"""

import logging
from typing import ClassVar

from ..log.event import Event


class ConnectionFailed(Event, frozen=True):
    """There is no link to the broker, and the requester keeps trying."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "cannot connect to {url}: {reason}; retrying"
    same: ClassVar[tuple[str, ...] | None] = ("url", "reason")
    url: str
    reason: str


class ConnectedAgain(Event, frozen=True):
    """There is a link again."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "connected to {url} again"
    url: str


class LinkLost(Event, frozen=True):
    """The link broke, and the requester reconnects."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "lost the connection to {url}: {reason}; reconnecting"
    url: str
    reason: str


class AnswerIgnored(Event, frozen=True):
    """A message that does not answer any request. `reason` quotes nothing of the message."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{url} sent {reason}; ignored"
    same: ClassVar[tuple[str, ...] | None] = ("url", "reason")
    url: str
    reason: str


class MessageRefused(Event, frozen=True):
    """The broker could not read a message of this requester. `code`: as in the error registry."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{url} refused a message: {reason} ({code})"
    same: ClassVar[tuple[str, ...] | None] = ("url", "code")
    url: str
    code: str
    reason: str
