"""`taskferry token`: what it prints works, what it refuses is one line, and the token itself appears only once."""

import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result
from taskferry.broker.identity.access_file import read_policy
from taskferry.broker.identity.authenticator import Authenticator
from taskferry.broker.identity.login import Credential
from taskferry.broker.identity.static_token import digest_of
from taskferry.cli.token import token

from tests.each_case import each_case

SECRET = "a-secret-of-more-than-32-bytes-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.toml"


def run(*arguments: str | Path, given: str = "", **environment: str) -> Result:
    # Help and errors are in the width of the terminal, which the tests do not have.
    return CliRunner().invoke(token, [str(word) for word in arguments], input=given, env=environment)


def made(path: Path, name: str = "alice", *options: str) -> str:
    result = run("new", name, *options, "--append", path)
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    return result.stdout.strip()


def test_what_new_prints_logs_in(path: Path) -> None:
    options = ["--role", "requester", "--call", "a*", "--call", "b", "--serve", "c", "--target", "gpu=*"]
    options += ["--watch", "task:*", "--jobs", "all", "--expires", "90d", "--note", 'my "laptop"']
    result = run("new", "al.ice", *options)
    assert result.exit_code == 0
    text = result.stdout.strip()
    assert text.startswith("tfk_")
    assert text not in result.stderr
    path.write_text(result.stderr)  # comments, and the lines
    policy = read_policy(path)
    login = Authenticator(policy).login(Credential(text), 0.0, time.time())
    assert login.identity.name == "al.ice"
    assert login.identity.expires_at == pytest.approx(90 * 86400, abs=60)
    (listed,) = run_json("list", "--access", path)["identities"]
    assert listed["roles"] == ["requester"]
    assert listed["granted"] == {
        "call": ["a*", "b"],
        "serve": ["c"],
        "target": ["gpu=*"],
        "watch": ["task:*"],
        "jobs": ["all"],
    }
    assert listed["tokens"][0]["note"] == 'my "laptop"'


def run_json(*arguments: str | Path, **environment: str) -> dict[str, Any]:
    result = run(*arguments, "--json", **environment)
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_new_without_rights_says_so_and_shows_the_entry_of_a_list(path: Path) -> None:
    result = run("new", "alice")
    comments = [line for line in result.stderr.splitlines() if line.startswith("#")]
    assert any(line.endswith("it may do nothing: see --role and --call.") for line in comments)
    (entry,) = (line.partition(": ")[2] for line in comments if "entry" in line)
    path.write_text(f"[identities.alice]\ntokens = [{entry}]")
    assert Authenticator(read_policy(path)).is_known(Credential(result.stdout.strip()))


def test_a_token_that_is_appended_is_known_and_the_old_one_stays(path: Path) -> None:
    first, second = made(path, "alice", "--role", "requester"), made(path)
    for text in (first, second):
        result = run("check", "--access", path, given=f"{text}\n")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"alice (token {digest_of(text).hex()[:8]}), expires: never\n"
    assert first not in path.read_text()


@each_case(
    ("arguments", "error"),
    [
        (["a b"], "'a b': only letters, digits and _ . : @ / - may be used, a letter or digit first"),
        (["anonymous"], "'anonymous': 'anonymous' is the name of strangers"),
        (["a", "--expires", "1d2h"], "--expires: expected a period such as 90d (min, h, d, w) or a date"),
        (["a", "--expires", "2020-01-01"], "--expires: is over already"),
        (
            ["a", "--call", ""],
            "the new lines: [identities.a] call[0]: expected a text of at least 1 characters",
        ),
        (
            ["a", "--note", "x" * 201],
            "the new lines: [identities.a] tokens[0].note: expected a text of at most 200",
        ),
        (
            ["a", "--note", "\x1b[2J"],
            "the new lines: [identities.a] tokens[0].note: only printable characters",
        ),
        (["a", "--role", "root"], "Invalid value for '--role': 'root' is not one of 'worker', 'requester'"),
    ],
)
def test_new_refuses_what_would_not_work_and_prints_no_token(arguments: list[str], error: str) -> None:
    result = run("new", *arguments)
    assert result.exit_code == 2
    assert error in result.stderr
    assert result.stdout == ""


def test_new_adds_nothing_to_a_file_with_an_error(path: Path) -> None:
    path.write_text("x = 1\n")
    result = run("new", "alice", "--append", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {path}: x: no such key; the keys are anonymous, identities, jwt\n"
    assert path.read_text() == "x = 1\n"


def test_check_takes_a_file_then_the_environment_then_standard_input(path: Path, tmp_path: Path) -> None:
    texts = {name: made(path, name) for name in ("file", "environment", "input")}
    (tmp_path / "token").write_text(f"  {texts['file']}\n")
    environment = {"TASKFERRY_TOKEN": texts["environment"], "TASKFERRY_BROKER_ACCESS": str(path)}
    only_access = {"TASKFERRY_BROKER_ACCESS": str(path)}
    for arguments, variables, name in (
        (["--token-file", tmp_path / "token"], environment, "file"),
        ([], environment, "environment"),
        (["--token-file", "-"], environment, "input"),
        ([], only_access, "input"),
    ):
        result = run("check", *arguments, given=texts["input"], **variables)
        assert result.stdout.startswith(f"{name} ("), (arguments, result.stderr)


def test_check_without_a_token_says_where_it_looked(path: Path, tmp_path: Path) -> None:
    made(path)
    for arguments, error in (
        (
            ["--token-file", tmp_path / "none"],
            f"--token-file: {tmp_path / 'none'}: No such file or directory",
        ),
        (
            ["--token-file", os.devnull],
            "there is no token: give it by --token-file, TASKFERRY_TOKEN or standard",
        ),
    ):
        result = run("check", "--access", path, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert error in result.stderr


def test_check_refuses_without_showing_the_token(path: Path) -> None:
    text = made(path, "alice", "--expires", "1min")
    other = f"tfk_{text[4:][::-1]}"
    for given, code, error in (
        (other, 1, "error: the token is not known here\n"),
        ("x" * 20_000, 1, "error: the token is not known here\n"),
        ("\xff\x00", 1, "error: the token is not known here\n"),
        ("  \n", 2, None),
        ("", 2, None),
    ):
        result = run("check", "--access", path, given=given)
        assert result.exit_code == code
        assert result.stdout == ""
        assert error is None or result.stderr == error
        assert not given.strip() or given not in result.stderr
    answer = run_json("check", "--access", path, TASKFERRY_TOKEN=text)
    assert (answer["identity"], answer["proof"]) == ("alice", f"token {digest_of(text).hex()[:8]}")
    assert str(answer["expires"]).endswith("Z")
    assert "--token " not in run("check", "--help").stdout


def test_check_judges_a_jwt_as_a_broker_would(path: Path) -> None:
    path.write_text(f"[jwt]\naudience = 'a'\n[jwt.keys.main]\nalgorithm = 'HS256'\nsecret = '{SECRET}'\n")
    if os.name == "posix":
        path.chmod(0o600)
    claims = {"sub": "bob", "aud": "a", "exp": time.time() + 3600}
    result = run("check", "--access", path, given=jwt.encode(claims, SECRET, "HS256"))
    assert result.stdout.startswith("bob (key main), expires: ")
    result = run("check", "--access", path, given=jwt.encode(claims | {"aud": "b"}, SECRET, "HS256"))
    assert (result.exit_code, result.stderr) == (1, "error: the token is for another audience (aud)\n")


LISTED = """
anonymous = { call = ["time"] }
[identities.alice]
roles = ["requester", "observer"]
serve = ["r-*", "s"]
deny = { call = ["x"] }
tokens = [
    { sha256 = "ABCDEF0100000000000000000000000000000000000000000000000000000000", note = "laptop" },
    { sha256 = "1111111100000000000000000000000000000000000000000000000000000000", expires = 2020-01-01 },
]
certificates = ["DNS:a.example"]
[identities.empty]
[jwt]
audience = "taskferry"
[jwt.keys.main]
algorithm = "HS256"
secret = "SECRET-SECRET-SECRET-SECRET-SECRET-SECRET"
"""


def test_list_shows_identities_and_what_proves_them(path: Path) -> None:
    path.write_text(LISTED)
    result = run("list", "--access", path)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    roles, rights = "requester, observer", "serve r-* s; not call x"
    assert lines == [
        "identity proof roles expires note rights",
        f"alice token abcdef01 {roles} never laptop {rights}",
        f"alice token 11111111 {roles} 2020-01-01T00:00:00Z, expired {rights}",
        f"alice DNS:a.example {roles} {rights}",
        "empty none",
        "anonymous nothing call time",
        "any subject key main claim taskferry",
    ]
    result = run("list", "--access", path, "--json")
    for printed in (result.stdout, "\n".join(lines)):
        assert "SECRET" not in printed
        assert "0000000000" not in printed
    answer = json.loads(result.stdout)
    assert answer["anonymous"]["granted"] == {"call": ["time"]}
    assert answer["identities"][0]["denied"] == {"call": ["x"]}
    assert answer["jwt"]["keys"] == [{"name": "main", "algorithm": "HS256", "kid": None}]


def test_the_access_file_is_found_by_the_configuration(path: Path, tmp_path: Path) -> None:
    text = made(path)
    config = tmp_path / "broker.toml"
    config.write_text('[broker]\naccess = "access.toml"\n')
    assert run("check", "--config", config, given=text).exit_code == 0
    assert run("list", TASKFERRY_BROKER_CONFIG=str(config)).exit_code == 0
    config.write_text("[broker]\n")
    result = run("list", "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no access file; name it with --access FILE" in result.stderr
    config.write_text("[broker]\nacces = 1\n")
    result = run("list", "--config", config)
    assert result.stderr == f"error: {config}: [broker] acces: no such setting; did you mean access?\n"
    result = run("list", "--access", tmp_path / "none")
    assert result.stderr == f"error: {tmp_path / 'none'}: No such file or directory\n"
