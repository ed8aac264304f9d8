"""What a program says of the device that it runs on: a few short facts, for those who look at a broker's connections.

Imports what is slow to load when it is needed: --help reads the bounds.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

from ..protocol.limits import DEVICE_FACT_LENGTH_MAX, DEVICE_FACTS_COUNT_MAX, DEVICE_LENGTH_MAX

OWN_FACTS_COUNT: Final = 5
"""Those that every program gives by itself."""

GIVEN_FACTS_COUNT_MAX: Final = DEVICE_FACTS_COUNT_MAX - OWN_FACTS_COUNT
GIVEN_LENGTH_MAX: Final = 1500
"""Facts that a user may add, and the characters of their names and texts together."""

OWN_FACT_LENGTH_MAX: Final = (DEVICE_LENGTH_MAX - GIVEN_LENGTH_MAX) // OWN_FACTS_COUNT - len("python")
"""Characters of a program's own facts, so that there is room for the others."""


def sdk() -> str:
    """What the program speaks with: `taskferry-python/0.1.0`."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  see above

    try:
        return f"taskferry-python/{version('taskferry')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "taskferry-python/0"


def device_facts(given: Mapping[str, str]) -> dict[str, str]:
    """`host`, `system`, `python`, `pid` and `sdk`, each of at most OWN_FACT_LENGTH_MAX characters; what is `given`
    takes the place of its own."""
    import platform  # noqa: PLC0415  see above

    own = {
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "pid": str(os.getpid()),
        "sdk": sdk(),
    }
    return {**{name: fact[:OWN_FACT_LENGTH_MAX] for name, fact in own.items()}, **given}


def check_device(given: object) -> None:
    """Raises ValueError unless these are facts that may be added, or None."""
    if given is None:
        return
    if not isinstance(given, Mapping) or len(given) > GIVEN_FACTS_COUNT_MAX:
        raise ValueError(f"device: expected at most {GIVEN_FACTS_COUNT_MAX} facts, as names and texts")
    for text in (*given, *given.values()):
        if not isinstance(text, str) or len(text) > DEVICE_FACT_LENGTH_MAX:
            raise ValueError(
                f"device: expected names and texts of at most {DEVICE_FACT_LENGTH_MAX} characters"
            )
    if sum(len(name) + len(fact) for name, fact in given.items()) > GIVEN_LENGTH_MAX:
        raise ValueError(f"device: expected at most {GIVEN_LENGTH_MAX} characters in all")
