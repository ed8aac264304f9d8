"""The DATA words of a command line, and the value that they stand for."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgpack
import msgspec

from ..protocol.codec import syntax_fault

INPUT_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The most that is read of a file or of standard input. The wire accepts 1 MiB of `data`, but an indented file may be
many times larger than what is sent of it."""

_MSGPACK_SUFFIXES: Final = (".msgpack", ".mpk")


JSON_BEGINS: Final = ("{", "[", '"')
"""How JSON begins that no person means as a text, or as the key of a pair."""

SHOWN_LENGTH_MAX: Final = 60
"""Characters of a word that an error shows: enough to find it."""

_ENDS_EARLY: Final = "Input data was truncated"
"""As msgspec says it, without a place."""


class DataError(Exception):
    """DATA that cannot be parsed: one line that says where and why."""


def data_from(words: Sequence[str], standard_input: BinaryIO | None = None) -> Any:
    """The value of DATA: one JSON text, `key=value` pairs, `@FILE`, or `-`; `{}` if there is none.

    The value of a pair is parsed as JSON, or else is the text itself: `n=3` is a number, `name=Ann` and `n='"3"'` are
    texts. What begins like JSON (JSON_BEGINS) is JSON, and never a pair or a text. A file's name ends in .msgpack (or
    .mpk) if it is MessagePack, else it is JSON. Raises DataError.
    """
    match list(words):
        case []:
            return {}
        case ["-"]:
            stream = sys.stdin.buffer if standard_input is None else standard_input
            return _json_value(_read(stream, "standard input"), "standard input")
        case [word] if word.startswith("@"):
            return _value_of_file(Path(word[1:]))
        case [word] if _begins_like_json(word):
            return _json_value(_encoded(word), shown(word))
        case [word] if (value := _json_or_none(word)) is not None:
            return value[0]
        case _:
            return _value_of_pairs(words)


def json_value(content: bytes) -> Any:
    """The value of a JSON text. Raises DataError, which says what is wrong and where."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fault = syntax_fault(error)
        if fault == _ENDS_EARLY:
            fault = f"it ends too early (byte {len(content)})"
        raise DataError(f"not valid JSON: {fault}") from None
    except RecursionError:
        raise DataError("nested too deeply") from None


def _begins_like_json(text: str) -> bool:
    return text.lstrip().startswith(JSON_BEGINS)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # as the command line had it


def shown(text: str) -> str:
    """A word of the command line as an error names it: its beginning, in quotes."""
    return repr(text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}...")


def _json_or_none(text: str) -> tuple[Any] | None:
    try:
        return (msgspec.json.decode(text),)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _value_of_pairs(words: Sequence[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for word in words:
        if _begins_like_json(word):
            raise DataError(
                f"{shown(word)} begins like JSON, which is one word: put all of it in single quotes"
            )
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise DataError(f"{word!r} is neither JSON, nor key=value, nor @FILE, nor - for standard input")
        if key in data:
            raise DataError(f"the key {key!r} is given twice")
        data[key] = _value_of(key, text)
    return data


def _value_of(key: str, text: str) -> Any:
    """The value of a pair."""
    if _begins_like_json(text):
        try:
            return json_value(_encoded(text))
        except DataError as error:
            raise DataError(
                f"{key}: {error}; to send it as a text, write it as one of JSON: {key}='\"...\"'"
            ) from None
    value = _json_or_none(text)
    return text if value is None else value[0]


def _value_of_file(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = _read(file, str(path))
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if path.suffix.lower() in _MSGPACK_SUFFIXES:
        return _msgpack_value(content, str(path))
    return _json_value(content, str(path))


def _read(stream: BinaryIO, where: str) -> bytes:
    content = stream.read(INPUT_SIZE_BYTES_MAX + 1)
    if len(content) > INPUT_SIZE_BYTES_MAX:
        raise DataError(f"{where}: over {INPUT_SIZE_BYTES_MAX} bytes")
    return content


def _json_value(content: bytes, where: str) -> Any:
    try:
        return json_value(content)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _msgpack_value(content: bytes, where: str) -> Any:
    unpacker = msgpack.Unpacker(strict_map_key=False, timestamp=3, max_buffer_size=INPUT_SIZE_BYTES_MAX)
    unpacker.feed(content)
    try:
        value = unpacker.unpack()
    except (msgpack.UnpackException, ValueError, RecursionError) as error:
        reason = str(error).removesuffix(".") or type(error).__name__
        raise DataError(f"{where}: not valid MessagePack: {reason}") from None
    if unpacker.tell() != len(content):
        raise DataError(f"{where}: more than one MessagePack value")
    return value
