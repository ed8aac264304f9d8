"""What a person types to run the `taskferry` that is running: after `make demo` it is not on the PATH."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "taskferry"


def typed_command() -> str:
    """`taskferry` if that is on the PATH, or a path from the current directory to it."""
    started = Path(sys.argv[0])
    if shutil.which(NAME) is not None or started.name != NAME or not os.access(started, os.X_OK):
        return NAME
    try:
        return shlex.quote(os.path.relpath(started))
    except (OSError, ValueError):  # the folder is gone, or on another drive
        return shlex.quote(str(started))
