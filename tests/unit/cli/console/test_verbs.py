"""What each verb stands for, and what is said of a mistake."""

import pytest
from taskferry.cli.console.verbs import VERBS, Mistake, command_lines, help_lines


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["list"], [["workers"], ["connections"]]),
        (["send", "w", "echo", "x=1"], [["request", "echo", "x=1", "--target", "w"]]),
        (["request", "echo"], [["request", "echo"]]),
        (["drain", "w", "--undo"], [["drain", "w", "--undo"]]),
        (["job", "show", "j"], [["job", "show", "j"]]),
        (["kick", "c"], [["kick", "c"]]),
    ],
)
def test_command_lines(words: list[str], lines: list[list[str]]) -> None:
    assert command_lines(words) == lines


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["reqest", "echo"], "no command 'reqest': did you mean request?"),
        (["quti"], "no command 'quti': did you mean quit?"),
        (["zzz"], "no command 'zzz': help lists all"),
        (["send"], "send: which worker, and which command? send WORKER COMMAND [DATA]"),
        (["send", "w"], "send: which worker, and which command? send WORKER COMMAND [DATA]"),
    ],
)
def test_mistakes(words: list[str], text: str) -> None:
    with pytest.raises(Mistake) as mistake:
        command_lines(words)
    assert str(mistake.value) == text


def test_help_names_every_verb_or_one() -> None:
    text = "\n".join(help_lines())
    assert all(f"  {verb}" in text for verb in VERBS)
    assert help_lines("drain") == ["  drain WORKER [--undo]  Let a worker finish, and give it nothing new."]
    with pytest.raises(Mistake, match="no command 'nothing'"):
        help_lines("nothing")
