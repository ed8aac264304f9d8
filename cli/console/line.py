"""A line that was typed, cut into words: as a shell does it, except that JSON needs no quotes.

Must not know what any word means.
"""

import io
import json
import shlex
from typing import Final

_JSON_BEGINS: Final = "{["

_DECODER: Final = json.JSONDecoder()


class LineError(Exception):
    """A line that cannot be cut: one line of text that says why."""


def words_of(line: str) -> list[str]:
    """The words of `line`. A word that begins with a brace or a bracket ends where its JSON does; if it is not JSON, it
    is all that is left, so that whoever reads it can say what is wrong. Raises LineError for a quotation that does not
    end."""
    words: list[str] = []
    at = 0
    while True:
        at += len(line[at:]) - len(line[at:].lstrip())
        if at == len(line):
            return words
        if line[at] in _JSON_BEGINS:
            end = _end_of_json(line, at)
            words.append(line[at:end])
        else:
            word, end = _shell_word(line, at)
            words.append(word)
        at = end


def _end_of_json(line: str, at: int) -> int:
    try:
        _, end = _DECODER.raw_decode(line, at)
    except (ValueError, RecursionError):
        return len(line.rstrip())
    is_whole = end == len(line) or line[end].isspace()
    return end if is_whole else len(line.rstrip())


def _shell_word(line: str, at: int) -> tuple[str, int]:
    stream = io.StringIO(line[at:])
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        word = lexer.get_token()
    except ValueError:
        raise LineError("a quotation mark or a backslash at the end of nothing: close it") from None
    return word or "", at + stream.tell()
