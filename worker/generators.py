"""Handlers that are generators: each value that they yield is a chunk.

However it ends, the generator is closed where it has run: `GeneratorExit` is raised at its `yield`, and its `finally`
blocks run.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from . import forked
from .outlet import Outlet


def run_generator(
    outlet: Outlet,
    function: Callable[..., Generator[object, None, object]],
    /,
    *arguments: Any,
    **keywords: Any,
) -> object:
    """Call a generator function, send what it yields to `outlet`, and return its result. In a thread, or the main
    thread of a process."""
    depth = forked.depth()
    generator = function(*arguments, **keywords)
    try:
        while True:
            try:
                chunk = next(generator)
            except StopIteration as end:
                return outlet.result(end.value)
            if forked.depth() != depth:
                forked.end_child()
            outlet.send(chunk)
            del chunk
    finally:
        generator.close()


async def await_generator(
    outlet: Outlet, function: Callable[..., AsyncGenerator[object, None]], /, *arguments: Any, **keywords: Any
) -> object:
    """The same of an async generator function, in the event loop."""
    depth = forked.depth()
    generator = function(*arguments, **keywords)
    try:
        async for chunk in generator:
            if forked.depth() != depth:
                forked.end_child()
            await outlet.send(chunk)
    finally:
        await generator.aclose()
    return outlet.result(None)
