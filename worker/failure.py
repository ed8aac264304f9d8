"""How a handler's failure is described: the error that a handler raises on purpose, and the text for all others."""

from types import TracebackType
from typing import Any, Final, NamedTuple

from ..protocol.encodings import Encoding
from ..protocol.errors import HandlerError, NotRepresentable
from ..protocol.limits import DELAY_S_MAX, TEXT_LENGTH_MAX

_OURS: Final = f"{__package__}."
_HANDLERS: Final = (f"{_OURS}builtin", f"{_OURS}calculator")
"""Modules of this package that handlers are in."""

_CUT: Final = " ..."
_TITLES: Final = {Encoding.JSON: "JSON", Encoding.MSGPACK: "MessagePack"}


class CommandError(Exception):
    """Raise it in a handler to fail with your own text and code.

    `text` goes to the requester as it is, at most 4096 characters of it; an exception in its place becomes its line.
    `code` is what a program compares: it matches `[a-z][a-z0-9_]*`, has at most 64 characters, and is either your own
    or one that the protocol lets a worker give, such as `bad_request`; any other becomes `handler_error`. No traceback
    is logged. It can be copied and pickled, as its subclasses can, whatever their own `__init__` takes.
    """

    retry: bool | float | None = None
    """Of an attempt of a job: whether it is tried again, and after how many seconds (True: as the job's terms say).
    None: as for any failure."""

    def __init__(self, text: str, *, code: str = HandlerError.code) -> None:
        said = _said(text) or HandlerError.message
        super().__init__(said)
        self.text = said
        self.code = _code_of(code)

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.args), self.__dict__


class Retry(CommandError):
    """Raise it in a handler to have the job tried again after so many seconds (0 to a year), or by default when the
    job's terms say. It counts as a failed attempt: a job whose last attempt this was is dead.

    A request fails with `text` and `code`, as with CommandError. Raises ValueError if `after` is out of bounds.
    """

    def __init__(
        self,
        after: float | None = None,
        text: str = "The handler asks for another attempt",
        *,
        code: str = HandlerError.code,
    ) -> None:
        super().__init__(text, code=code)
        self.retry = True
        if after is not None:
            if isinstance(after, bool | str) or not 0 <= after <= DELAY_S_MAX:
                raise ValueError(f"after: expected 0 to {DELAY_S_MAX:.0f} seconds, got {after!r}")
            self.retry = float(after)


class Dead(CommandError):
    """Raise it in a handler to end the job as dead at once, whatever attempts are left: `reason` says why no further
    one can help. A request fails with it, as with CommandError."""

    def __init__(self, reason: str, *, code: str = HandlerError.code) -> None:
        super().__init__(reason, code=code)
        self.retry = False


class ContextCancelled(BaseException):
    """Raised by `Context.raise_if_cancelled` and `Context.send`: not an Exception, so that no `except Exception` in a
    handler catches it."""


def wire_text(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """`text` as it can be sent: valid Unicode, at most `length_max` characters."""
    if len(text) > length_max:
        text = text[: length_max - len(_CUT)] + _CUT
    return text.encode(errors="replace").decode()


def describe_exception(error: BaseException) -> str:
    """`ValueError: width must be even`: one line for a requester, whatever the exception's own `__str__` does."""
    name = type(error).__name__
    text = _text_of(error)
    return wire_text(f"{name}: {text}" if text else name)


def outside(error: BaseException) -> BaseException:
    """`error`, its traceback without the outer frames that are of this package. If all are, they stay."""
    kept = error.__traceback__
    while kept is not None and _is_ours(kept):
        kept = kept.tb_next
    return error if kept is None else error.with_traceback(kept)


class Outcome(NamedTuple):
    """What a handler says of its failure, as it can be sent. `retry`: see CommandError."""

    text: str
    code: str
    retry: bool | float | None


def outcome_of(error: CommandError) -> Outcome:
    """What `error` says, whatever a handler has put there, such as an exception for a text: an assignment must end."""
    text, code, retry = (_attribute(error, name) for name in ("text", "code", "retry"))
    return Outcome(_said(text) or HandlerError.message, _code_of(code), _retry_of(retry))


def _remade(kind: type[CommandError], arguments: tuple[Any, ...]) -> CommandError:
    """A copy, without its `__init__`, whose parameters are those of its class; its attributes come after."""
    return kind.__new__(kind, *arguments)


def _attribute(error: CommandError, name: str) -> object:
    try:
        value: object = getattr(error, name)
    except BaseException:  # a subclass has made it a property
        return None
    return value


def _said(text: object) -> str:
    return describe_exception(text) if isinstance(text, BaseException) else _text_of(text)


def _code_of(code: object) -> str:
    return str.__str__(code) if isinstance(code, str) else HandlerError.code


def _retry_of(retry: object) -> bool | float | None:
    """What can be sent: a number of a class of its own, such as NumPy's, cannot."""
    if isinstance(retry, bool) or not isinstance(retry, int | float):
        return retry if isinstance(retry, bool) else None
    try:
        wait_s = float(retry)
    except Exception:
        return None
    return wait_s if 0 <= wait_s <= DELAY_S_MAX else None


def _text_of(value: object) -> str:
    """A string as one without surprises; of anything else what `str` says, if it does; empty for None."""
    if isinstance(value, str):
        return str.__str__(value)
    try:
        return "" if value is None else str.__str__(str(value))
    except BaseException:  # an exit that is asked for in a `__str__` is none
        return ""


def describe_unencodable(error: BaseException, encoding: Encoding, what: str = "result") -> CommandError:
    """Why `what`, of a handler, cannot be written in `encoding`, as the failure that is sent in its place."""
    title = _TITLES[encoding]
    match error:
        case OverflowError():
            text = f"{what}: {title} cannot hold an integer over 64 bits"
            return CommandError(text, code=NotRepresentable.code)
        case RecursionError():
            return CommandError(f"{what}: nested too deeply for {title}, or contains itself")
        case UnicodeEncodeError():
            return CommandError(f"{what}: a string in it is not valid Unicode")
        case TypeError() | ValueError():
            return CommandError(f"{what}: cannot be written as {title}: {_text_of(error)}")
        case _:
            return CommandError(f"{what}: cannot be written as {title}: {describe_exception(error)}")


def _is_ours(traceback: TracebackType) -> bool:
    module = traceback.tb_frame.f_globals.get("__name__", "")
    return isinstance(module, str) and module.startswith(_OURS) and module not in _HANDLERS
