"""`python -m benchmarks.peers.install`: installs the peers that can be installed here, says which could not and why.

Uses Debian's package manager and the peers' environments. Taskferry needs none of this, so no failure stops the rest,
and the exit code is 0 whatever could be installed.
"""

import os
import shutil
import subprocess
import sys

from .end_to_end.contenders import ENVIRONMENTS
from .servers import DEBIAN_PACKAGES, is_installed

APT_TIMEOUT_S = 600.0


def main() -> int:
    """Returns 0, or 130 after Ctrl-C."""
    try:
        for program, package in DEBIAN_PACKAGES.items():
            if is_installed(program):
                print(f"{program}: is installed", flush=True)
            else:
                _tell(program, _install_debian_package(package))
        for environment in ENVIRONMENTS:
            if environment.is_installed:
                print(f"{environment.name}: is installed", flush=True)
            else:
                print(f"{environment.name}: installing {' '.join(environment.requirements)} ...", flush=True)
                _tell(environment.name, environment.install())
    except KeyboardInterrupt:
        return 130
    return 0


def _install_debian_package(package: str) -> str | None:
    """None when it is installed, else why not."""
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        return "there is no apt-get here; install it as your system does"
    if sys.platform == "win32" or os.geteuid() != 0:
        return f"needs root: apt-get install {package}"
    # The second attempt is for a machine whose package lists are old or were never fetched.
    refused = _run(apt_get, "install", "--yes", "--no-install-recommends", package)
    if refused is None:
        return None
    _run(apt_get, "update")
    return _run(apt_get, "install", "--yes", "--no-install-recommends", package)


def _run(*command: str) -> str | None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)} did not end within {APT_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"{' '.join(command)} gave no reason"])[-1]


def _tell(name: str, refused: str | None) -> None:
    print(f"{name}: installed" if refused is None else f"{name}: NOT installed: {refused}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
