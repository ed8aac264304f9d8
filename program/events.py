"""The events that every program can have: its configuration was read anew, or could not be."""

import logging
from typing import ClassVar

from ..log.event import Event


class ConfigurationReloaded(Event, frozen=True):
    """SIGHUP: the file was read anew, and what can change meanwhile has changed. `changed`: each as `KEY: OLD -> NEW`;
    empty where nothing has."""

    text: ClassVar[str] = "configuration reloaded: {changed}"
    changed: tuple[str, ...]

    def __str__(self) -> str:
        return super().__str__() if self.changed else "configuration reloaded: nothing has changed"


class RestartNeeded(Event, frozen=True):
    """SIGHUP: these settings were changed in the file, and count from the next start on."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "configuration: not without a restart: {settings}"
    settings: tuple[str, ...]


class ReloadRefused(Event, frozen=True):
    """SIGHUP: there is no file, or something is wrong in it; nothing has changed."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "configuration not reloaded, nothing has changed: {reason}"
    reason: str
