"""What foreign text may do to a terminal: nothing. A name, a label, an error text is shown, and never obeyed.

A terminal executes control characters (ECMA-48: colours, cursor, window title, in some even replies that are typed
into the shell), a line end forges a line, and a bidirectional control shows text in another order than it has (Unicode
UAX 9, "Trojan Source", CVE-2021-42574). All that is printed of another program's text passes one of these functions.
"""

import re
from typing import Any, Final

_OBEYED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""C0, DEL and C1 controls, bidirectional controls and marks, separators of lines, and what is no character."""


def printable(text: str) -> str:
    """`text` on one line, with whatever is not visible as an escape, such as `\\x1b` or `\\u200b`: two names that look
    alike are alike."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def printable_lines(text: str) -> str:
    """`text` with its line ends and tabs, and whatever else a terminal would obey as an escape."""
    return _OBEYED.sub(lambda found: found[0] if found[0] in "\n\t" else printable(found[0]), text)


def printable_json(text: str) -> str:
    """The JSON `text` with whatever a terminal would obey as `\\uXXXX`. It parses to the same value: outside of its
    strings, valid JSON has none of these but line ends, tabs and spaces, which are kept."""
    return _OBEYED.sub(lambda found: found[0] if found[0] in "\n\t\r" else f"\\u{ord(found[0]):04x}", text)


def printable_throughout(value: Any) -> Any:
    """A decoded JSON value with every text in it, keys included, made `printable`."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {printable(key): printable_throughout(item) for key, item in value.items()}
        case list():
            return [printable_throughout(item) for item in value]
        case _:
            return value
