"""Tracebacks without the text of the exceptions: it may contain data of a request, and a log must not.

The text of a handler's exception is sent to its requester, and nowhere else.
"""

import itertools
import traceback
from collections.abc import Iterator
from typing import Final

EXCEPTIONS_COUNT_MAX: Final = 10
"""Exceptions of one chain that are written: the last ones."""


def places(error: BaseException) -> str:
    """The traceback of `error` and of those that led to it, as Python writes it, with types instead of texts."""
    parts = []
    for link, raised in reversed(list(itertools.islice(_chain(error), EXCEPTIONS_COUNT_MAX))):
        stack = "".join(traceback.format_tb(raised.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{stack}{_type_name(raised)}")
        if link:
            parts.append(link)
    return "\n\n".join(parts)


def _chain(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """From the last exception back to the first, each with how it led to the one before it here."""
    seen: set[int] = set()
    link = ""
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield link, current
        if current.__cause__ is not None:
            link = "The above exception was the direct cause of the following exception:"
            current = current.__cause__
        else:
            link = "During handling of the above exception, another exception occurred:"
            current = None if current.__suppress_context__ else current.__context__


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
