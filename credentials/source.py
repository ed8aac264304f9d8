"""Where a client's token comes from: a fixed text, a file, or a function, each asked again for every connection.

A function is foreign code: it runs for a bounded time, never twice at once, and whatever it does wrong becomes one
error, without the token and without the function's own words.
"""

import asyncio
import contextlib
import inspect
import os
import threading
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from ..protocol.limits import TOKEN_LENGTH_MAX
from .token import Token, problem_of

TOKEN_VARIABLE: Final = "TASKFERRY_TOKEN"
"""The environment variable that every program takes its token from, if nothing else gives one."""

NO_TOKEN: Final = f"no token was given: use token=, {TOKEN_VARIABLE}, or on the command line --token-file"
"""What to do about a broker that wants one."""

FETCH_S_MAX: Final = 10.0
"""How long a function may take: as long as a handshake."""

_FILE_SIZE_BYTES_MAX: Final = TOKEN_LENGTH_MAX + 1024
"""A token and the white space around it."""

Tokens = str | Callable[[], str | Awaitable[str]] | None
"""What users pass as `token`: a text, a function that returns a fresh one, or None for that of the environment."""


class TokenError(Exception):
    """There is no token, and why. One line, which quotes nothing of a token."""


class TokenSource:
    """Where the tokens of one client come from.

    `can_renew`: asking again may give another token; if not, `fixed` is the token. Making one never raises, so that no
    traceback has a token in its locals: call `check` when nothing holds it any more.
    """

    __slots__ = ("_function", "_is_in_thread", "_problem", "_task", "can_renew", "fixed")

    def __init__(self, given: Tokens = None) -> None:
        self.fixed: Token | None = None
        self._function: Callable[[], object] | None = None
        self._task: asyncio.Future[object] | None = None
        self._is_in_thread = False
        self._problem: str | None = None
        self.can_renew = callable(given)
        if callable(given):
            self._function = given
            return
        if given is None:
            given = os.environ.get(TOKEN_VARIABLE, "").strip() or None
            where = TOKEN_VARIABLE
        else:
            where = "token"
        if given is None:
            return
        problem = problem_of(given)
        if problem is None:
            self.fixed = Token(given)
        else:
            self._problem = f"{where}: the token {problem}"

    @property
    def is_none(self) -> bool:
        """There is no token to show."""
        return self.fixed is None and self._function is None

    def check(self) -> None:
        """Raise ValueError if what was given cannot be a token."""
        if self._problem is not None:
            raise ValueError(self._problem)

    async def fetch(self) -> Token | None:
        """The token to show now, None if there is none. Raises TokenError, at the latest after FETCH_S_MAX."""
        if self._function is None:
            return self.fixed
        if self._is_in_thread or (self._task is not None and not self._task.done()):
            raise TokenError("the function for the token has still not returned from an earlier call")
        self._task = task = asyncio.ensure_future(self._result_of(self._function))
        try:
            await asyncio.wait({task}, timeout=FETCH_S_MAX)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_ignore)
        if not task.done():
            raise TokenError(f"the function for the token did not return within {FETCH_S_MAX:g} s")
        return _token_of(task)

    async def _result_of(self, function: Callable[[], object]) -> object:
        """What it returns: a coroutine function runs in this loop, any other in a thread."""
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            result = function()
        else:
            result = await self._in_thread(function)
        return await result if inspect.isawaitable(result) else result

    async def _in_thread(self, function: Callable[[], object]) -> object:
        """Not in the loop's executor: Python waits for its threads at exit, and this one may hang."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[object] = loop.create_future()

        def run() -> None:
            try:
                outcome: tuple[object, BaseException | None] = (function(), None)
            except BaseException as error:
                outcome = (None, error)
            self._is_in_thread = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: the result is no longer needed
                loop.call_soon_threadsafe(_settle, ended, *outcome)

        self._is_in_thread = True
        try:
            threading.Thread(target=run, name="taskferry token", daemon=True).start()
        except BaseException:
            self._is_in_thread = False
            raise
        return await ended


def token_file(path: Path) -> Callable[[], str]:
    """A function for TokenSource that reads the file at `path` each time; white space around the token is left out."""

    def read() -> str:
        try:
            with path.open("rb") as file:
                content = file.read(_FILE_SIZE_BYTES_MAX + 1)
        except OSError as error:
            raise TokenError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        text = content.decode("latin-1").strip()  # what is not ASCII is refused like any other
        problem = problem_of(text)
        if problem is not None:
            raise TokenError(f"{path}: the token {problem}")
        return text

    return read


def token_now(read: Callable[[], str] | None) -> Token | None:
    """The token of a file, else of the environment, for a program that needs it once. Raises ValueError."""
    if read is None:
        source = TokenSource()
        source.check()
        return source.fixed
    try:
        return Token(read())
    except TokenError as error:
        raise ValueError(f"--token-file: {error}") from None


def _token_of(done: "asyncio.Future[object]") -> Token:
    """What a function returned, as a Token. Raises TokenError."""
    if done.cancelled():
        raise TokenError("the function for the token was cancelled")
    error = done.exception()
    if isinstance(error, TokenError):
        raise TokenError(str(error))
    if error is not None:
        raise TokenError(f"the function for the token raised {type(error).__name__}{_place_of(error)}")
    problem = problem_of(done.result())
    if problem is not None:
        raise TokenError(f"the function for the token: what it returned {problem}")
    return Token(str(done.result()))


def _place_of(error: BaseException) -> str:
    """File and line where it was raised: its text may hold anything, and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _settle(ended: "asyncio.Future[object]", result: object, error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(result)
    else:
        # A StopIteration, or an interrupt in a thread, cannot be the exception of a future.
        is_fit = isinstance(error, Exception) and not isinstance(error, StopIteration)
        ended.set_exception(error if is_fit else RuntimeError(type(error).__name__))


def _ignore(done: "asyncio.Future[Any]") -> None:
    """Retrieve the outcome of a call that took too long, so that asyncio does not report it as lost."""
    if not done.cancelled():
        done.exception()
