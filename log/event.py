"""What an event is: something that happened and that an operator may act on, with a name and typed fields.

Each package declares its events in its `events.py`. Must not know how an event is written, nor when it happens.
"""

import contextlib
import logging
import re
import sys
import traceback
from typing import Any, ClassVar, Final

import msgspec

from .printable import printable

FIELD_LENGTH_MAX: Final = 500
"""Characters of one field, such as the name of a peer or a list of settings. Longer ones are cut."""

_QUOTED: Final = re.compile(r"""(['"]).*\1""", re.DOTALL)
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Event(msgspec.Struct, frozen=True):
    """Something that happened. A subclass declares its fields, and

    `level`: how much it matters; `text`: the line for people, with fields in braces; `same`: the fields that make two
    of these a repetition if they are equal (see folding.py), None if each is logged.
    """

    name: ClassVar[str]
    """As in JSON: `worker_joined`."""
    level: ClassVar[int] = logging.INFO
    text: ClassVar[str]
    same: ClassVar[tuple[str, ...] | None] = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.name = _WORDS.sub("_", cls.__name__).lower()

    def fields(self) -> dict[str, Any]:
        """Its fields by name, fit for one line: control characters escaped, long texts cut."""
        return {name: _fit(getattr(self, name)) for name in self.__struct_fields__}

    def __str__(self) -> str:
        return self.text.format(**{name: _listed(value) for name, value in self.fields().items()})


def log_event(logger: logging.Logger, event: Event, *, error: BaseException | None = None) -> None:
    """Log an event, with the traceback of `error`. Never raises: what is reported must go on, even if a handler or a
    filter that the program has added to logging fails. That is printed, as logging does with its own."""
    try:
        logger.log(event.level, event, exc_info=error, stacklevel=2)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            with contextlib.suppress(OSError):
                traceback.print_exc(file=sys.stderr)


def without_quoted(text: str) -> str:
    """`text` without what it quotes from a message, which is data of its sender."""
    return _QUOTED.sub("'...'", text)


def _fit(value: Any) -> Any:
    match value:
        case str():
            return printable(
                f"{value[: FIELD_LENGTH_MAX - 3]}..." if len(value) > FIELD_LENGTH_MAX else value
            )
        case tuple():
            return [_fit(item) for item in value]
        case _:
            return value


def _listed(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value
