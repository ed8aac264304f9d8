"""A worker's canary: a command of its own that the broker calls with empty data, to check that the worker works.

It runs as any other assignment does: on a path of its own it would say nothing about the path of requests.
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
    """Raise ValueError if `name` is none of `commands`, or cannot be called with empty data."""
    command = commands.get(name)
    if command is None:
        more = ", ..." if len(commands) > _NAMED_COUNT_MAX else ""
        known = ", ".join(list(commands)[:_NAMED_COUNT_MAX]) + more
        raise ValueError(f"canary: {name!r} is not one of the worker's commands: {known}")
    try:
        command.binder(Encoding.MSGPACK)(CODECS[Encoding.MSGPACK].empty_data)
    except BindingError as error:
        raise ValueError(f"canary: {name!r} cannot be called without data: {error}") from None
    except Exception as error:  # raised by the user's own types when they are made
        text = describe_exception(error)
        raise ValueError(f"canary: {name!r} cannot be called without data: {text}") from None
