"""The texts of failures: whatever a handler raises becomes one sendable line."""

from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import TEXT_LENGTH_MAX
from taskferry.worker import CommandError
from taskferry.worker.failure import describe_exception, describe_unencodable, wire_text

from tests.each_case import each_case


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@each_case(
    ("error", "expected"),
    [
        (ValueError("width must be even"), "ValueError: width must be even"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
        (Rude(), "Rude"),
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


def test_a_command_error_is_its_text() -> None:
    error = CommandError("too dark", code="too_dark")
    assert str(error) == "too dark"
    assert error.code == "too_dark"
    assert CommandError("x").code == "handler_error"


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
