"""The events that every program can log: its configuration was reloaded, or was not."""

import logging
from typing import ClassVar

from ..log.event import Event


class ConfigurationReloaded(Event, frozen=True):
    """SIGHUP: the file was read again, and its live settings are in force. `changed`: each change as `KEY: OLD -> NEW`,
    empty if there is none."""

    text: ClassVar[str] = "configuration reloaded: {changed}"
    changed: tuple[str, ...]

    def __str__(self) -> str:
        return super().__str__() if self.changed else "configuration reloaded: nothing has changed"


class RestartNeeded(Event, frozen=True):
    """SIGHUP: these settings differ in the file, and change only with a restart."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "configuration: needs a restart: {settings}"
    settings: tuple[str, ...]


class FileNotReloaded(Event, frozen=True):
    """SIGHUP: another file (`what`: `access file`, `certificate`) could not be read again, or has an error. What was
    read before stays in force."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{what} not reloaded, what was read before stays in force: {reason}"
    what: str
    reason: str


class ReloadRefused(Event, frozen=True):
    """SIGHUP: there is no file, or it has an error. Nothing has changed."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "configuration not reloaded, nothing has changed: {reason}"
    reason: str


class UnknownVariable(Event, frozen=True):
    """A variable of the environment looks like a setting of this program, and is none. `hint`: the one that may have
    been meant, or empty. Its value is not logged: it may be a secret."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "the environment variable {variable} is no setting, and changes nothing{hint}"
    variable: str
    hint: str


class MessageHandlerFailed(Event, frozen=True):
    """A handler of messages of the user's own has raised an exception. The message is lost."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "message {kind}: its handler raised {exception}: {error}"
    same: ClassVar[tuple[str, ...] | None] = ("kind", "exception")
    kind: str
    exception: str
    error: str


class MessageDropped(Event, frozen=True):
    """A message of the user's own was dropped: too many before it have not been handled yet."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "message {kind}: dropped, as {count} messages wait for their handlers"
    same: ClassVar[tuple[str, ...] | None] = ("kind",)
    kind: str
    count: int
