"""The canary of a worker: a command of its own that the broker calls with empty data, to see that the worker works.

Knows what makes a command fit for that. It runs as any other assignment does: were it to go another way, it would show
nothing of the way that requests go.
"""

from collections.abc import Mapping
from typing import Final

from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from .binding import BindingError
from .command import Command
from .failure import describe_exception

_NAMED_COUNT_MAX: Final = 10


def check_canary(name: str, commands: Mapping[str, Command]) -> None:
    """Raise ValueError where `name` is none of `commands`, or cannot be called with empty data."""
    command = commands.get(name)
    if command is None:
        more = ", ..." if len(commands) > _NAMED_COUNT_MAX else ""
        known = ", ".join(list(commands)[:_NAMED_COUNT_MAX]) + more
        raise ValueError(f"canary: {name!r} is not one of the worker's commands: {known}")
    try:
        command.binding.binder(Encoding.JSON)(CODECS[Encoding.JSON].empty_data)
    except BindingError as error:
        raise ValueError(f"canary: {name!r} cannot be called without data: {error}") from None
    except Exception as error:  # what the user's own types raise while they are made
        text = describe_exception(error)
        raise ValueError(f"canary: {name!r} cannot be called without data: {text}") from None
