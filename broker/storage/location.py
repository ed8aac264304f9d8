"""Where the journal is if nobody names a place: in the folder that the system keeps for a program's state."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NAME: Final = "journal.db"


def default_path(environ: Mapping[str, str], home: Path, platform: str = sys.platform) -> Path:
    """`$STATE_DIRECTORY/journal.db` under systemd (the first, if there are several; systemd.exec(5)); otherwise
    `taskferry/journal.db` in the user's state folder: `$XDG_STATE_HOME` or `~/.local/state` (XDG Base Directory
    Specification), on macOS `~/Library/Application Support`, on Windows `%LOCALAPPDATA%`."""
    if state := environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0]) / NAME
    return state_folder(environ, home, platform) / "taskferry" / NAME


def state_folder(environ: Mapping[str, str], home: Path, platform: str) -> Path:
    """The user's folder for the state of programs."""
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    named = environ.get("XDG_STATE_HOME", "")
    if Path(named).is_absolute():  # the specification: a relative path is ignored
        return Path(named)
    if platform == "darwin":
        return home / "Library" / "Application Support"
    return home / ".local" / "state"
