"""A handler that forks ends twice: in the worker, and in the child, which is a copy of the worker and must not go on as
one.

Wherever such a child returns from its handler, or raises, as `sys.exit` does, it ends there, as a program of its own
would.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

_depth = 0
"""How many forks lie between this process and the program that was started."""


def depth() -> int:
    """Differs between a process and its forked children, and costs less than the number of the process."""
    return _depth


def call(function: Callable[..., Any], positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Call a handler. Only the process that has called it returns."""
    depth_before = _depth
    try:
        result = function(*positional, **keywords)
    except BaseException as error:
        if _depth != depth_before:
            end_child(error)
        raise
    if _depth != depth_before:
        end_child()
    return result


def end_child(error: BaseException | None = None) -> NoReturn:
    """End this forked child, flushed, with the exit code of a program that ends with `error`. What the worker has
    registered to be done at its end is left to the worker."""
    code: object = 0
    with contextlib.suppress(Exception):  # standard error is closed, or was replaced
        if isinstance(error, SystemExit):
            code = 0 if error.code is None else error.code
            if not isinstance(code, int):
                sys.stderr.write(f"{code}\n")
        elif error is not None:
            code = None
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF if isinstance(code, int) else 1)


def _after_in_child() -> None:
    global _depth  # noqa: PLW0603  each process has its own
    _depth += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
