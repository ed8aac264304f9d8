"""A context of its own for each call of a handler: what one request sets must not be there in the next.

A coroutine has one by its task; a plain function, in a thread or a process that runs many, gets one here. A copy of a
context shares its values, and ordinary code changes one of them in place: that of `decimal`, which is copied too.
"""

import contextvars
import decimal
from collections.abc import Callable
from typing import Any, Final

from . import forked

_DECIMAL_VARIABLE: Final = "decimal_context"


def call_in(
    context: contextvars.Context,
    function: Callable[..., Any],
    positional: tuple[Any, ...],
    keywords: dict[str, Any],
) -> Any:
    """Call `function` in `context`, a copy that only this call has."""
    return context.run(_call, function, positional, keywords)


def has_decimal_context() -> bool:
    """Whether copies of the current context would share a context of `decimal`: something has used or set it here."""
    return any(variable.name == _DECIMAL_VARIABLE for variable in contextvars.copy_context())


def take_own_decimal_context() -> None:
    """Give the current context a copy of the one that it shares."""
    decimal.setcontext(decimal.getcontext().copy())


def _call(function: Callable[..., Any], positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    take_own_decimal_context()
    return forked.call(function, positional, keywords)
