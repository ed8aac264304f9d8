"""Whatever another program's text holds, a terminal shows it and executes nothing; JSON keeps its value."""

import json
import logging
import sys
import unicodedata

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from taskferry.log.format import HumanFormatter
from taskferry.log.printable import printable, printable_json, printable_lines, printable_throughout

from tests.each_case import each_case

OBEYED = [
    *(chr(code) for code in range(0x20)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ud800\udfff\ufeff",
]
"""What a terminal executes, or what changes the order or the lines of what it shows."""


def is_harmless(text: str, *, allowed: str = "") -> bool:
    return set(OBEYED).isdisjoint(set(text) - set(allowed))


def test_obeyed_holds_all_controls_and_bidirectional_controls_of_unicode() -> None:
    everything = map(chr, range(sys.maxunicode + 1))
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    executed = {
        letter
        for letter in everything
        if unicodedata.category(letter) in {"Cc", "Zl", "Zp"}
        or unicodedata.bidirectional(letter) in bidirectional
    }
    assert executed <= set(OBEYED)


@each_case("letter", OBEYED, ids=lambda letter: f"U+{ord(letter):04X}")
def test_nothing_that_is_obeyed_is_printed(letter: str) -> None:
    for shown in (printable(letter), printable_lines(letter), printable_json(letter)):
        assert is_harmless(shown, allowed="\n\t\r" if letter in "\n\t\r" else "")
    assert is_harmless(printable(letter))
    assert is_harmless(printable_lines(letter), allowed="\n\t")
    assert json.loads(printable_json(f'"{json.dumps(letter)[1:-1]}"')) == letter


@each_case(
    ("text", "shown"),
    [
        ("worker-1 Zürich 日本 🚚", "worker-1 Zürich 日本 🚚"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\r\nb\x9b2J", r"a\r\nb\x9b2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("node-1\u200b", r"node-1\u200b"),  # not obeyed, but invisible
    ],
)
def test_a_name_on_one_line(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines_where_they_are_wanted() -> None:
    assert printable_lines("a\tb\n\x1b[2Jc\rd") == "a\tb\n\\x1b[2Jc\\rd"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_json_keeps_its_value(value: object) -> None:
    line = printable_json(json.dumps(value, ensure_ascii=False))
    assert is_harmless(line)
    assert json.loads(line) == value
    assert json.loads(printable_json(msgspec.json.format(line, indent=2))) == value


def test_every_text_of_an_answer() -> None:
    answer = {"a\x1b": ["\n", {"k": "\u202e", "n": 1.5, "none": None}]}
    assert printable_throughout(answer) == {"a\\x1b": ["\\n", {"k": "\\u202e", "n": 1.5, "none": None}]}


def test_a_line_of_a_library_or_handler_cannot_forge_another() -> None:
    text = "got \x1b[31m\r\n12:00:00 ERROR   the broker burns"
    line = HumanFormatter().format(logging.LogRecord("user", logging.INFO, __file__, 1, text, (), None))
    assert line[8:] == " INFO    got \\x1b[31m\\r\n    12:00:00 ERROR   the broker burns"
