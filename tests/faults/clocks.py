"""The wall clock of a single program, moved while it runs, by a small library that is preloaded into it.

The clock of the machine stays as it is: other tests, and whoever else uses the machine, need it.
"""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("clock_shim.c")


def why_no_clock() -> str:
    """Why no program's clock can be moved here; empty if it can."""
    if sys.platform != "linux":
        return "LD_PRELOAD moves a clock on Linux only"
    if shutil.which("cc") is None:
        return "there is no C compiler (cc); on Debian and Ubuntu: apt install gcc libc6-dev"
    return ""


class Clock:
    """A wall clock. A program that is started with `environment` goes by it. `folder`: for its files."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock_shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self._path = folder / "clock_ahead_s"
        self._path.write_bytes(struct.pack("=q", 0))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIM_FILE": str(self._path)}

    def move(self, ahead_s: int) -> None:
        """From here on it is `ahead_s` seconds ahead of the machine's clock; behind it if negative."""
        file = os.open(self._path, os.O_WRONLY)  # in place: the program has it mapped
        os.pwrite(file, struct.pack("=q", ahead_s), 0)
        os.close(file)
