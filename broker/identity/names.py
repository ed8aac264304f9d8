"""Names of identities: those of the protocol, and not that of strangers."""

import re
from typing import Final

from ...protocol.field_types import NAME_PATTERN, NAME_RULE
from ...protocol.limits import NAME_LENGTH_MAX
from ..access.identity import ANONYMOUS

_NAME: Final = re.compile(NAME_PATTERN)


def name_fault(name: str) -> str | None:
    """Why this cannot be the name of an identity. None if it can."""
    if name == ANONYMOUS:
        return f"{ANONYMOUS!r} is the name of strangers"
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        return f"a name has 1 to {NAME_LENGTH_MAX} characters, this one has {len(name)}"
    if not _NAME.match(name):
        return NAME_RULE
    return None
