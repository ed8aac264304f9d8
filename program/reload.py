"""SIGHUP in any program: the file is read again, live settings change, and the log says what changed and what did not.
Other files that a program depends on are read again as well, each by itself: an error in one leaves the others.

Applies the settings of the log. Must not know what the others are for: the program receives its new settings.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from ..configuration.schema import Table
from ..configuration.sources import Configuration, ConfigurationError, Sources
from ..log.event import log_event
from ..log.settings import LOG
from ..log.setup import apply
from .events import ConfigurationReloaded, FileNotReloaded, ReloadRefused, RestartNeeded

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings")


class OtherFile(NamedTuple, Generic[Settings]):
    """Files besides the configuration's that are read again. `what` they are, for the log. `read`, passed the settings
    that will be in force, reads them, perhaps in a thread, and returns what puts them in force; None if there are none.
    It raises ConfigurationError, or OSError if a file goes away while it is read."""

    what: str
    read: Callable[[Settings], Callable[[], object] | None]


class _Fresh(NamedTuple):
    """What was read: a configuration, or why there is none (None: none is expected). For each other file what puts it
    in force, or why nothing does."""

    configuration: Configuration | str | None
    others: list[tuple[str, Callable[[], object] | str]]


class Reload(Generic[Settings]):
    """Call `again` at each SIGHUP, or in an event loop `soon`. `settings` are those of `table` that are in force."""

    def __init__(self, sources: Sources, started_with: Configuration, table: Table[Settings]) -> None:
        self._sources = sources
        self._table = table
        self._in_force = started_with
        self._is_wanted = False
        self._task: asyncio.Task[None] | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the table that are in force."""
        return self._in_force.settings(self._table)

    def again(self, take: Callable[[Settings], None], others: Sequence[OtherFile[Settings]] = ()) -> None:
        """Read everything again. Calls `take` with the new settings if a live setting of the table has changed. No
        setting changes if the file has an error, or if `take` raises ValueError."""
        self._apply(self._read(others), take)

    def soon(self, take: Callable[[Settings], None], others: Sequence[OtherFile[Settings]]) -> None:
        """The same in the running event loop, which goes on while files are read. One reload follows another."""
        self._is_wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._again_in_thread(take, others))

    def stop(self) -> None:
        """Start no reload any more; of one that has begun, nothing comes into force."""
        if self._task is not None:
            self._task.cancel()

    async def _again_in_thread(
        self, take: Callable[[Settings], None], others: Sequence[OtherFile[Settings]]
    ) -> None:
        while self._is_wanted:
            self._is_wanted = False
            self._apply(await asyncio.to_thread(self._read, others), take)

    # --- reading, perhaps in a thread: changes nothing ---

    def _read(self, others: Sequence[OtherFile[Settings]]) -> _Fresh:
        configuration: Configuration | str | None = None
        if self._sources.path is not None:
            try:
                configuration = self._sources.read()
            except ConfigurationError as error:
                configuration = str(error)
        settings = self.settings
        if isinstance(configuration, Configuration):
            settings = self._merged(configuration).settings(self._table)
        read = ((other.what, _read(other, settings)) for other in others)
        found = [(what, put) for what, put in read if put is not None]
        if self._sources.path is None and not found:
            configuration = "there is no file: started without --config"
        return _Fresh(configuration, found)

    def _merged(self, read: Configuration) -> Configuration:
        """The configuration in force, with the live settings of `read`."""
        live, _ = self._changes(self._table, read)
        values = self._in_force.values
        changed = {key: read.values[self._table.name][key] for key in live}
        now = {self._table.name: {**values[self._table.name], **changed}, LOG.name: read.values[LOG.name]}
        return Configuration(self._in_force.tables, now)

    # --- putting it in force ---

    def _apply(self, fresh: _Fresh, take: Callable[[Settings], None]) -> None:
        match fresh.configuration:
            case Configuration():
                self._apply_configuration(fresh.configuration, take)
            case str():
                log_event(logger, ReloadRefused(fresh.configuration))
        for what, put_in_force in fresh.others:
            if isinstance(put_in_force, str):
                log_event(logger, FileNotReloaded(what, put_in_force))
            else:
                put_in_force()

    def _apply_configuration(self, read: Configuration, take: Callable[[Settings], None]) -> None:
        live, fixed = self._changes(self._table, read)
        log_changes, _ = self._changes(LOG, read)
        in_force = self._merged(read)
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


def _read(other: OtherFile[Settings], settings: Settings) -> Callable[[], object] | str | None:
    try:
        return other.read(settings)
    except (ConfigurationError, OSError) as error:
        return str(error)
