"""One command that a worker serves: its name, its handler, how that is run and how its arguments are bound.

Everything that can be wrong with a handler is found here, when it is registered.
"""

import enum
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

from msgspec import Raw

from ..configuration.kinds import Number, Whole
from ..protocol.encodings import Encoding
from ..protocol.field_types import NAME_PATTERN
from ..protocol.limits import ATTEMPTS_COUNT_MAX, BACKOFF_COUNT_MAX, JOB_TIMEOUT_S_MAX, NAME_LENGTH_MAX
from ..protocol.messages import Defaults
from .binding import Arguments, Binding

ExecutorName = Literal["thread", "process"]

Value = TypeVar("Value")

_ON_OBJECT: Final = "after the class, worker.command(NAME)(OBJECT.METHOD)"
_NAME: Final = re.compile(NAME_PATTERN)
_ATTEMPTS: Final = Whole(1, ATTEMPTS_COUNT_MAX)
_TIMEOUT: Final = Number(0, JOB_TIMEOUT_S_MAX, "seconds", is_low_open=True)
_WAIT: Final = Number(0, JOB_TIMEOUT_S_MAX, "seconds")


class Execution(enum.Enum):
    """Where a handler runs."""

    COROUTINE = "coroutine"
    THREAD = "thread"
    PROCESS = "process"


class Command:
    """A name and its handler. Making one raises ValueError or TypeError, with a text that names the command.

    `defaults` are the terms that its jobs run under unless their submitters say otherwise. `is_generator`: its handler
    yields chunks.
    """

    __slots__ = ("binding", "defaults", "execution", "function", "is_generator", "name")

    def __init__(
        self,
        name: str | None,
        function: Callable[..., Any],
        executor: ExecutorName | None = None,
        *,
        attempts: int | None = None,
        backoff: float | Sequence[float] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.name = _checked_name(getattr(function, "__name__", None) if name is None else name)
        if isinstance(function, staticmethod):
            function = function.__func__
        self.function = function
        self._check_bound()
        self.execution = self._execution(executor)
        self.defaults = self._defaults(attempts, backoff, timeout)
        try:
            self.binding = Binding(function)
        except TypeError as error:
            raise TypeError(f"command {self.name!r}: {error}") from None
        if self.execution is Execution.PROCESS:
            self._check_for_process()

    def binder(self, encoding: Encoding) -> Callable[[Raw], Arguments]:
        """Its arguments from `data` in `encoding`, see Binding. Raises ValueError, naming the command, if `encoding`
        has no value for one of its parameters."""
        try:
            return self.binding.binder(encoding)
        except TypeError as error:
            raise ValueError(f"command {self.name!r}: {error}") from None

    def _check_bound(self) -> None:
        """A method that is decorated in its class, or taken from it, has no object to be called with."""
        function = self.function
        if isinstance(function, classmethod):
            raise TypeError(
                f"command {self.name!r}: a class method must be registered on its class: {_ON_OBJECT}"
            )
        scope = getattr(function, "__qualname__", "").rpartition(".")[0].rpartition(".")[2]
        if scope in ("", "<locals>") or not inspect.isfunction(function):
            return
        first = next(iter(inspect.signature(function).parameters), None)
        if first in ("self", "cls"):
            raise TypeError(
                f"command {self.name!r}: a method needs its object: {_ON_OBJECT}; or make it static"
            )

    def _execution(self, executor: ExecutorName | None) -> Execution:
        function = self.function
        call = getattr(function, "__call__", None)  # noqa: B004  # its kind matters, not whether it is there
        kinds = (function, call)
        is_async_generator = any(map(inspect.isasyncgenfunction, kinds))
        self.is_generator = is_async_generator or any(map(inspect.isgeneratorfunction, kinds))
        if is_async_generator or any(map(inspect.iscoroutinefunction, kinds)):
            if executor is not None:
                raise ValueError(
                    f"command {self.name!r}: an async handler runs in the event loop, not in a {executor}"
                )
            return Execution.COROUTINE
        match executor:
            case None | "thread":
                return Execution.THREAD
            case "process":
                return Execution.PROCESS
        raise ValueError(f"command {self.name!r}: executor is 'thread' or 'process', not {executor!r}")

    def _defaults(
        self, attempts: int | None, backoff: float | Sequence[float] | None, timeout: float | None
    ) -> Defaults | None:
        if attempts is None and backoff is None and timeout is None:
            return None
        return Defaults(
            attempts=self._checked("attempts", _ATTEMPTS.convert, attempts),
            backoff=self._checked("backoff", _converted_backoff, backoff),
            timeout=self._checked("timeout", _TIMEOUT.convert, timeout),
        )

    def _checked(self, option: str, convert: Callable[[Any], Value], value: Any) -> Value | None:
        if value is None:
            return None
        try:
            return convert(value)
        except ValueError as error:
            raise ValueError(f"command {self.name!r}: {option}: {error}") from None

    def _check_for_process(self) -> None:
        qualified_name = getattr(self.function, "__qualname__", "")
        if "<" in qualified_name:
            raise TypeError(
                f"command {self.name!r}: a handler in a process must be a function of a module, "
                f"not {qualified_name}"
            )


def _converted_backoff(value: float | Sequence[float]) -> float | list[float]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return _WAIT.convert(value)
    if not 1 <= len(value) <= BACKOFF_COUNT_MAX:
        raise ValueError(f"expected 1 to {BACKOFF_COUNT_MAX} waits, got {len(value)}")
    return [_WAIT.convert(wait_s) for wait_s in value]


def _checked_name(name: str | None) -> str:
    if name is None:
        raise TypeError("a handler without a name needs one: command(NAME)")
    if not isinstance(name, str):
        raise TypeError(f"a command's name is a string, not an {type(name).__name__}")
    if len(name) > NAME_LENGTH_MAX:
        raise ValueError(f"command {name[:20]!r}...: {len(name)} characters, at most {NAME_LENGTH_MAX}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"command {name!r}: only letters, digits and _ . : @ / - may be used, a letter or digit first"
        )
    return name
