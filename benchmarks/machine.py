"""What figures depend on besides the code: the machine, interpreters, and versions of everything involved."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from .broker_process import BrokerFailed

BROKER_PACKAGES: Final = ("taskferry", "websockets", "msgspec", "uvloop")
FLOOR_PACKAGES: Final = ("websockets", "uvloop", "picows")
ASK_TIMEOUT_S: Final = 15.0

_ASKING: Final = """
import json, platform, sys
from importlib.metadata import version
from taskferry.broker.core import core
print(json.dumps([platform.python_implementation() + " " + platform.python_version(),
                  {name: version(name) for name in sys.argv[1:]},
                  not core.__file__.endswith(".py")]))
"""


def about(broker_python: str = sys.executable) -> dict[str, Any]:
    """Machine and versions as JSON values. Raises BrokerFailed if the interpreter has no Taskferry."""
    python, packages, is_compiled = _broker_side(broker_python)
    return {
        "processor": _processor_name(),
        "core_count": os.cpu_count(),
        "system": platform.platform(),
        "broker": python,
        "broker_packages": packages,
        "broker_hot_path": "compiled" if is_compiled else "plain Python",
        "load_and_floors": f"{platform.python_implementation()} {platform.python_version()}",
        "floor_packages": {name: number for name in FLOOR_PACKAGES if (number := _version(name)) is not None},
    }


def _broker_side(broker_python: str) -> tuple[str, dict[str, str], bool]:
    command = [broker_python, "-c", _ASKING, *BROKER_PACKAGES]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=ASK_TIMEOUT_S, text=True)
    except OSError as error:
        raise BrokerFailed(f"{broker_python} does not start: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise BrokerFailed(f"{broker_python} printed nothing within {ASK_TIMEOUT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.strip().splitlines() or ["(it printed nothing)"])[-1]
        raise BrokerFailed(f"{broker_python} cannot run the broker: {last_line}") from None
    python, packages, is_compiled = json.loads(answer.stdout)
    return python, packages, is_compiled


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
