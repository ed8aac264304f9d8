"""`taskferry can`: yes or no, and the rule."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from taskferry.cli.can import can

ACCESS = """
anonymous = { call = ["time"] }
[identities.alice]
roles = ["requester"]
serve = ["resize-*"]
operate = true
deny = { call = ["*-huge"] }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    path.write_text(ACCESS)
    return path


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(can, [*arguments, "--access", str(path)])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("alice call echo", "yes: role requester"),
        ("alice call resize-huge", 'no: deny call "*-huge"'),
        ("alice serve resize-huge", 'yes: serve "resize-*"'),
        ("alice serve echo", "no: no rule grants it"),
        ("alice target gpu=yes", "yes: role requester"),
        ("alice watch task:list", "no: no rule grants it"),
        ("alice jobs own", "yes: role requester"),
        ("alice jobs all", "no: no rule grants it"),
        ("alice observe", "no: no rule grants it"),
        ("alice operate", 'yes: operate "*"'),
        ("anonymous call time", 'yes: call "time"'),
        ("anonymous call echo", "no: no rule grants it"),
    ],
)
def test_an_answer_names_the_rule(question: str, answer: str, path: Path) -> None:
    result = run(path, *question.split())
    assert (result.stdout, result.stderr) == (f"{answer}\n", "")
    assert result.exit_code == (0 if answer.startswith("yes") else 1)


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ("eve call echo", "'eve' is not in "),
        ("alice call", "call needs a subject: COMMAND"),
        ("alice observe all", "observe has no subject"),
        ("alice jobs mine", "jobs: expected own or all"),
        (
            "alice fly",
            "'fly' is not one of 'call', 'serve', 'target', 'message', 'watch', 'publish', 'jobs', 'observe', "
            "'operate'",
        ),
    ],
)
def test_a_question_without_an_answer(question: str, error: str, path: Path) -> None:
    result = run(path, *question.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert error in result.stderr


def test_without_an_access_file_there_is_no_answer() -> None:
    result = CliRunner().invoke(can, ["alice", "call", "echo"])
    assert result.exit_code == 2
    assert "there is no access file; name it with --access FILE" in result.stderr
