"""SIGHUP at any program: the file is read anew, what can change changes, and the log says what, and what not.

Knows which settings are live, and applies those of the log. Must not know what the others are for: the program is
handed its new settings.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from ..configuration.schema import Setting, Table, shown
from ..configuration.sources import Configuration, ConfigurationError, Sources
from ..log.event import tell
from ..log.settings import LOG
from ..log.setup import apply
from .events import ConfigurationReloaded, ReloadRefused, RestartNeeded

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings")


class Reload(Generic[Settings]):
    """`again` for each SIGHUP. `settings` are those of `table` that are in force."""

    def __init__(self, sources: Sources, started_with: Configuration, table: Table[Settings]) -> None:
        self._sources = sources
        self._table = table
        self.settings: Settings = started_with.settings(table)
        self._log = started_with.settings(LOG)

    def again(self, take: Callable[[Settings], None]) -> None:
        """Read the file anew, and have `take` go on with the settings in which what is live has changed. Nothing
        changes where something in the file is wrong, or where `take` raises ValueError."""
        if self._sources.path is None:
            tell(logger, ReloadRefused("there is no file: --config was not given at the start"))
            return
        try:
            configuration = self._sources.read()
        except ConfigurationError as error:
            tell(logger, ReloadRefused(str(error)))
            return
        wished = configuration.settings(self._table)
        differing = [
            setting for setting in self._table.settings.values() if _differs(setting, self.settings, wished)
        ]
        live = [setting for setting in differing if setting.is_live]
        log = configuration.settings(LOG)
        changed = [_change(setting, self.settings, wished) for setting in live]
        changed += [
            f"log.{_change(setting, self._log, log)}"
            for setting in LOG.settings.values()
            if _differs(setting, self._log, log)
        ]
        changes = {setting.field: getattr(wished, setting.field) for setting in live}
        settings = replace(self.settings, **changes)  # type: ignore[type-var]  # no type says "a dataclass"
        try:
            if live:
                take(settings)
        except ValueError as error:
            tell(logger, ReloadRefused(f"{self._sources.path}: {error}"))
            return
        apply(log, self._log)
        self.settings, self._log = settings, log
        tell(logger, ConfigurationReloaded(tuple(changed)))
        if len(live) < len(differing):
            fixed = [setting for setting in differing if not setting.is_live]
            tell(logger, RestartNeeded(tuple(_change(setting, settings, wished) for setting in fixed)))


def _differs(setting: Setting, before: object, after: object) -> bool:
    return bool(getattr(before, setting.field) != getattr(after, setting.field))


def _change(setting: Setting, before: object, after: object) -> str:
    texts = (_text(setting, getattr(settings, setting.field)) for settings in (before, after))
    return f"{setting.key}: {' -> '.join(texts)}"


def _text(setting: Setting, value: object) -> str:
    return setting.instead if value is None else shown(setting.kind, value)
