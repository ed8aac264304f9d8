"""SIGHUP in any program: the file is read again, live settings change, and the log says what changed and what did not.

Applies the settings of the log. Must not know what the others are for: the program receives its new settings.
"""

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..configuration.schema import Table
from ..configuration.sources import Configuration, ConfigurationError, Sources
from ..log.event import log_event
from ..log.settings import LOG
from ..log.setup import apply
from .events import ConfigurationReloaded, ReloadRefused, RestartNeeded

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings")


class Reload(Generic[Settings]):
    """Call `again` at each SIGHUP. `settings` are those of `table` that are in force."""

    def __init__(self, sources: Sources, started_with: Configuration, table: Table[Settings]) -> None:
        self._sources = sources
        self._table = table
        self._in_force = started_with

    @property
    def settings(self) -> Settings:
        """The settings of the table that are in force."""
        return self._in_force.settings(self._table)

    def again(self, take: Callable[[Settings], None]) -> None:
        """Read the file again. Calls `take` with the new settings if a live setting of the table has changed. Nothing
        changes if the file has an error, or if `take` raises ValueError."""
        if self._sources.path is None:
            log_event(logger, ReloadRefused("there is no file: started without --config"))
            return
        try:
            read = self._sources.read()
        except ConfigurationError as error:
            log_event(logger, ReloadRefused(str(error)))
            return
        live, fixed = self._changes(self._table, read)
        log_changes, _ = self._changes(LOG, read)
        values = self._in_force.values
        changed = {key: read.values[self._table.name][key] for key in live}
        now = {self._table.name: {**values[self._table.name], **changed}, LOG.name: read.values[LOG.name]}
        in_force = Configuration(self._in_force.tables, now)
        try:
            if live:
                take(in_force.settings(self._table))
        except ValueError as error:
            log_event(logger, ReloadRefused(f"{self._sources.path}: {error}"))
            return
        apply(in_force.settings(LOG), self._in_force.settings(LOG))
        self._in_force = in_force
        log_texts = (f"log.{text}" for text in log_changes.values())
        log_event(logger, ConfigurationReloaded((*live.values(), *log_texts)))
        if fixed:
            log_event(logger, RestartNeeded(tuple(fixed.values())))

    def _changes(self, table: Table[Any], read: Configuration) -> tuple[dict[str, str], dict[str, str]]:
        """The changes that `read` makes, as `KEY: OLD -> NEW` by key: of live settings, and of all others."""
        live: dict[str, str] = {}
        fixed: dict[str, str] = {}
        for key, setting in table.settings.items():
            before, after = (of.values[table.name][key].value for of in (self._in_force, read))
            if before != after:
                changes = live if setting.is_live else fixed
                changes[key] = f"{key}: {setting.text(before)} -> {setting.text(after)}"
        return live, fixed
