"""One virtual environment for each Python peer, under .cache/peers/: making it, and what is in it.

Not `.venv`, and not one for all: arq wants a redis client below 6, taskiq-redis one above, and pip would settle it with
an arq of years ago. So each peer gets the newest client that it wants.
"""

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from .servers import Missing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "peers"
INSTALL_TIMEOUT_S = 900.0
_PRINT_VERSIONS = """
import importlib.metadata, json, platform, sys
versions = {"python": platform.python_version()}
for name in sys.argv[1:]:
    versions[name] = importlib.metadata.version(name)
print(json.dumps(versions))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """The packages that a peer's programs import: `requirements` for pip, the first of them the peer itself."""

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return FOLDER / self.name

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def is_installed(self) -> bool:
        """True once `install` has finished with these requirements."""
        return self._ready.exists() and self._ready.read_text() == self._told

    def python(self) -> str:
        """Its Python. Raises Missing."""
        if not self.is_installed:
            raise Missing(f"{self.name} is not installed (make bench-peers installs it)")
        return str(self.interpreter)

    def versions(self) -> dict[str, str]:
        """The version of each package of `requirements`, and of Python. Raises Missing, CalledProcessError."""
        names = [requirement.partition("[")[0] for requirement in self.requirements]
        printed = subprocess.run(
            [self.python(), "-c", _PRINT_VERSIONS, *names], capture_output=True, text=True, check=True
        )
        versions: dict[str, str] = json.loads(printed.stdout)
        return versions

    def install(self) -> str | None:
        """Make it again unless it is there; None when it is ready, else pip's own last line on why it is not."""
        if self.is_installed:
            return None
        command = [str(self.interpreter), "-m", "pip", "install", "--quiet", *self.requirements]
        try:
            venv.create(self.folder, clear=True, with_pip=True)
            pip = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"pip did not end within {INSTALL_TIMEOUT_S:g} s"
        except (OSError, subprocess.CalledProcessError) as error:
            return f"no virtual environment in {self.folder}: {error}"
        if pip.returncode != 0:
            errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
            return (errors or pip.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        self._ready.write_text(self._told)
        return None

    @property
    def _ready(self) -> Path:
        return self.folder / ".ready"

    @property
    def _told(self) -> str:
        return "\n".join(self.requirements) + "\n"
