"""The texts of failures: whatever a handler raises becomes one sendable line."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import REGISTRY, TaskferryError
from taskferry.protocol.limits import TEXT_LENGTH_MAX
from taskferry.worker import CommandError, Dead, Retry
from taskferry.worker.failure import describe_exception, describe_unencodable, outcome_of, wire_text

from tests.each_case import each_case


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Ruder(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text for you")


class Text(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("no length for you")


class Closed(CommandError):
    @property
    def text(self) -> str:
        raise RuntimeError("no text for you")

    @text.setter
    def text(self, text: str) -> None: ...


class Busy(CommandError):
    retry = 5.0


def changed(error: CommandError, **attributes: Any) -> CommandError:
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@each_case(
    ("error", "outcome"),
    [
        (Dead("closed", code="account_closed"), ("closed", "account_closed", False)),
        (Dead(None), ("Handler failed", "handler_error", False)),  # type: ignore[arg-type]
        (Dead(ValueError("closed")), ("ValueError: closed", "handler_error", False)),  # type: ignore[arg-type]
        (Dead(Rude()), ("Rude", "handler_error", False)),  # type: ignore[arg-type]
        (Dead(Dead("closed")), ("Dead: closed", "handler_error", False)),  # type: ignore[arg-type]
        (Dead(404), ("404", "handler_error", False)),  # type: ignore[arg-type]
        (Dead("x", code=12), ("x", "handler_error", False)),  # type: ignore[arg-type]
        (Dead("x", code=["x"]), ("x", "handler_error", False)),  # type: ignore[arg-type]
        (Dead(Text("closed"), code=Text("own")), ("closed", "own", False)),
        (Retry(0, None), ("Handler failed", "handler_error", 0.0)),  # type: ignore[arg-type]
        (changed(Retry(), retry="x"), ("The handler asks for another attempt", "handler_error", None)),
        (
            changed(Retry(), retry=float("nan")),
            ("The handler asks for another attempt", "handler_error", None),
        ),
        (Closed("x"), ("Handler failed", "handler_error", None)),
        (Busy("x"), ("x", "handler_error", 5.0)),
    ],
)
def test_whatever_a_handler_puts_into_its_failure_can_be_sent(error: CommandError, outcome: Any) -> None:
    assert outcome_of(error) == outcome
    assert type(outcome_of(error).text) is str


@each_case(
    ("error", "expected"),
    [
        (ValueError("width must be even"), "ValueError: width must be even"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
        (Rude(), "Rude"),
        (Ruder(), "Ruder"),
        (ValueError("\ud800"), "ValueError: ?"),
    ],
)
def test_exceptions_are_described(error: BaseException, expected: str) -> None:
    assert describe_exception(error) == expected


def test_a_text_is_cut_at_its_bound() -> None:
    assert wire_text("x" * TEXT_LENGTH_MAX) == "x" * TEXT_LENGTH_MAX
    cut = wire_text("x" * (TEXT_LENGTH_MAX + 1))
    assert len(cut) == TEXT_LENGTH_MAX
    assert cut.endswith("x ...")


class Own(CommandError):
    """With parameters of its own, and an attribute."""

    def __init__(self, user_id: int, *, reason: str) -> None:
        super().__init__(f"user {user_id}: {reason}", code="own")
        self.user_id = user_id


COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@each_case(
    "error",
    [
        CommandError("too dark", code="too_dark"),
        CommandError(ValueError("odd")),  # type: ignore[arg-type]
        Retry(after=3, text="not yet", code="busy"),
        Dead("closed"),
        Own(3, reason="closed"),
        changed(CommandError("x"), note="y"),
        *(kind("no", request_id="r", processed_by="w") for kind in REGISTRY.values()),
    ],
)
def test_copies_and_pickles_are_equal(error: CommandError | TaskferryError) -> None:
    error.add_note("seen")
    for copied in COPIES:
        again = copied(error)
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
        assert again.code == error.code
        if isinstance(error, CommandError):
            assert outcome_of(copied(error)) == outcome_of(error)


@each_case(
    ("text", "code", "expected"),
    [
        (ValueError("odd"), "odd", ("ValueError: odd", "odd")),
        (404, 404, ("404", "handler_error")),
        (None, None, ("Handler failed", "handler_error")),
        ("", "", ("Handler failed", "")),
        (Rude(), b"x", ("Rude", "handler_error")),
        (Text("closed"), Text("own"), ("closed", "own")),
    ],
)
def test_what_is_no_text_is_made_one_as_it_is_raised(text: Any, code: Any, expected: tuple[str, str]) -> None:
    error = CommandError(text, code=code)
    assert (error.text, error.code) == expected
    assert str(error) == error.text
    assert {type(error.text), type(error.code)} == {str}


def test_a_command_error_is_its_text() -> None:
    error = CommandError("too dark", code="too_dark")
    assert str(error) == "too dark"
    assert error.code == "too_dark"
    assert CommandError("x").code == "handler_error"


@each_case(
    ("error", "retry", "text", "code"),
    [
        (CommandError("x"), None, "x", "handler_error"),
        (Retry(), True, "The handler asks for another attempt", "handler_error"),
        (Retry(30), 30.0, "The handler asks for another attempt", "handler_error"),
        (Retry(0, "too early", code="too_early"), 0.0, "too early", "too_early"),
        (Retry(after=31_536_000), 31_536_000.0, "The handler asks for another attempt", "handler_error"),
        (Dead("closed"), False, "closed", "handler_error"),
        (Dead("closed", code="account_closed"), False, "closed", "account_closed"),
    ],
)
def test_a_handler_may_say_what_becomes_of_its_job(
    error: CommandError, retry: object, text: str, code: str
) -> None:
    assert error.retry is retry if isinstance(retry, bool) else error.retry == retry
    assert (error.text, error.code) == (text, code)


@each_case("after", [-1, 31_536_001, float("nan"), float("inf"), "5", True])
def test_the_wait_before_another_attempt_is_bounded(after: Any) -> None:
    with pytest.raises(ValueError, match=r"^after: expected 0 to 31536000 seconds, got "):
        Retry(after=after)


@each_case(
    ("error", "code", "text"),
    [
        (
            OverflowError("big"),
            "not_representable",
            "result: MessagePack cannot hold an integer over 64 bits",
        ),
        (RecursionError(), "handler_error", "result: nested too deeply for MessagePack, or contains itself"),
        (
            UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"),
            "handler_error",
            "result: a string in it is not valid",
        ),
        (
            TypeError("objects of type X"),
            "handler_error",
            "result: cannot be written as MessagePack: objects of",
        ),
        (LookupError("x"), "handler_error", "result: cannot be written as MessagePack: LookupError: x"),
    ],
)
def test_what_cannot_be_written_is_described(error: Exception, code: str, text: str) -> None:
    failure = describe_unencodable(error, Encoding.MSGPACK)
    assert failure.code == code
    assert failure.text.startswith(text)
