"""Reads the access file again while the broker runs: in a thread, because a large one takes a second."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from ..configuration.sources import ConfigurationError
from ..log.event import log_event
from .events import AccessFileRefused
from .identity.access_file import read_policy
from .identity.policy import OPEN, Policy

logger = logging.getLogger(__name__)


def policy_in(path: str | None) -> Policy:
    """What the access file at `path` says; without one, everyone may do everything. Blocks. Raises
    ConfigurationError."""
    return OPEN if path is None else read_policy(Path(path))


class AccessReload:
    """`again`, at each SIGHUP; `stop`, once. `take` is called with what the file says, if it has no error."""

    def __init__(self, take: Callable[[Policy], None]) -> None:
        self._take = take
        self._path: str | None = None
        self._is_due = False
        self._task: asyncio.Task[None] | None = None

    def again(self, path: str | None) -> None:
        """Read the file soon. If it is being read right now, it is read once more afterwards."""
        self._path = path
        self._is_due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()

    async def _read(self) -> None:
        while self._is_due:
            self._is_due = False
            try:
                policy = await asyncio.to_thread(policy_in, self._path)
            except ConfigurationError as error:
                log_event(logger, AccessFileRefused(str(error)))
            else:
                self._take(policy)
