"""Whether this process may open another file, of which each connection is one.

Without one left, the event loop accepts a connection only to close it, and tells nobody: libuv keeps a file in reserve
for that (`uv__emfile_trick`). So the broker tries for itself, twice a second.
"""

import logging
import os
from typing import Final

from ..log.event import log_event
from .events import OpenFilesExhausted, OpenFilesFree

logger = logging.getLogger(__name__)

TRIED: Final = os.sep
"""There is a root folder everywhere, and to open it costs some microseconds."""


class OpenFiles:
    """`check` logs when the last one is taken, and when there is one again."""

    def __init__(self) -> None:
        self._is_exhausted = False

    def check(self) -> None:
        """To be called twice a second."""
        reason = _why_none()
        if (reason is not None) is self._is_exhausted:
            return
        self._is_exhausted = reason is not None
        log_event(logger, OpenFilesFree() if reason is None else OpenFilesExhausted(reason))


def _why_none() -> str | None:
    """Why no file can be opened, in the words of the system; None if one can."""
    try:
        os.close(os.open(TRIED, os.O_RDONLY))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None
