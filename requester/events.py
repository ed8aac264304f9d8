"""What a requester tells the person who runs it: every line of its log that is ours.

Names, levels and fields; docs/log.md is written from them. Must not know when any of it happens. No field may hold data
of a request, a handler's own words, or what lets somebody in.
"""

import logging
from typing import ClassVar

from ..log.event import Event


class ConnectionFailed(Event, frozen=True):
    """There is no link to the broker, and the requester goes on trying."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "cannot connect to {url}: {reason}; trying on"
    same: ClassVar[tuple[str, ...] | None] = ("url", "reason")
    url: str
    reason: str


class ConnectedAgain(Event, frozen=True):
    """The link is there again."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "connected to {url} again"
    same: ClassVar[tuple[str, ...] | None] = ("url",)
    url: str


class LinkLost(Event, frozen=True):
    """The link broke, and the requester connects again."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "link to {url} is gone: {reason}; connecting again"
    same: ClassVar[tuple[str, ...] | None] = ("url", "reason")
    url: str
    reason: str


class AnswerIgnored(Event, frozen=True):
    """What came is no answer to anything. `reason` is without what it quotes of the message."""

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
