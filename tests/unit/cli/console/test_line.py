"""A typed line becomes words: as in a shell, but JSON needs no quotes."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.cli.console.line import LineError, words_of


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   ", []),
        ("list", ["list"]),
        ("  send node-1   echo  ", ["send", "node-1", "echo"]),
        ('request echo {"message": "Hello World"}', ["request", "echo", '{"message": "Hello World"}']),
        ('request echo {"a": "}\\" {"} --target w', ["request", "echo", '{"a": "}\\" {"}', "--target", "w"]),
        ("request echo [1, 2, 3] -", ["request", "echo", "[1, 2, 3]", "-"]),
        ("request echo 'two words' n=3", ["request", "echo", "two words", "n=3"]),
        ('request echo text="two words"', ["request", "echo", "text=two words"]),
        ("drain 'node 1' --undo", ["drain", "node 1", "--undo"]),
        ("request echo ''", ["request", "echo", ""]),
        ('request echo {"a": 1,} x', ["request", "echo", '{"a": 1,} x']),
        ('request echo {"a": 1}x', ["request", "echo", '{"a": 1}x']),
        ("broadcast # this", ["broadcast", "#", "this"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert words_of(line) == words


@pytest.mark.parametrize("line", ["request 'echo", 'request "echo', "request echo\\"])
def test_a_quotation_that_does_not_end_is_an_error(line: str) -> None:
    with pytest.raises(LineError, match="close it"):
        words_of(line)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))))
def test_quoted_words_are_those_of_a_shell(words: list[str]) -> None:
    assert words_of(" ".join(shlex.quote(word) for word in words if word[:1] not in ("{", "["))) == [
        word for word in words if word[:1] not in ("{", "[")
    ]


@given(st.text())
def test_any_line_is_words_or_an_error(line: str) -> None:
    try:
        words = words_of(line)
    except LineError:
        return
    assert (not words) is (not line.strip()), "nothing is lost as a whole"
