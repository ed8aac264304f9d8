"""The login of the sub-commands that ask over HTTP: what is sent, to whom, and what is said if it is refused."""

import json
import ssl
from pathlib import Path

import click
import pytest
import trustme
from click.testing import CliRunner, Result
from taskferry.cli.drain import drain
from taskferry.cli.inspection import explain, status, workers

from tests.unit.cli.fake_http_port import HttpPort, fake_http_port

SECRET = "tfk_marked-and-never-shown"
WORKERS = json.dumps({"workers": []}).encode()


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKFERRY_TOKEN", raising=False)


def run(command: click.Command, *arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    assert SECRET not in result.output
    return result


def list_workers(port: HttpPort, *arguments: str) -> Result:
    port.answers["/api/workers"] = WORKERS
    return run(workers, "--http", port.url, *arguments)


def test_a_file_comes_before_the_variable(
    port: HttpPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    assert list_workers(port).exit_code == 0
    monkeypatch.setenv("TASKFERRY_TOKEN", "of-the-variable")
    assert list_workers(port).exit_code == 0
    assert list_workers(port, "--token-file", str(path)).exit_code == 0
    monkeypatch.setenv("TASKFERRY_HTTP_TOKEN_FILE", str(path))
    assert list_workers(port).exit_code == 0
    secret = f"Bearer {SECRET}"
    assert port.authorizations == [None, "Bearer of-the-variable", secret, secret]


def test_a_redirect_does_not_get_the_token(port: HttpPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", SECRET)
    with fake_http_port() as elsewhere:
        elsewhere.answers["/api/workers"] = WORKERS
        port.redirects_to = elsewhere.url
        assert list_workers(port).exit_code == 0
        assert port.authorizations == [f"Bearer {SECRET}"]
        assert elsewhere.authorizations == [None]


@pytest.mark.parametrize(("status_code", "exit_code"), [(401, 6), (403, 6), (429, 7), (503, 1)])
@pytest.mark.parametrize("command", [workers, status, explain, drain])
def test_a_refusal_has_its_exit_code(
    port: HttpPort, command: click.Command, status_code: int, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", SECRET)
    refusal = status_code, json.dumps({"error": f"not with {SECRET}"}).encode()
    for path in ("/api/workers", "/api/status", "/api/explain", "/api/workers/w/drain"):
        port.refusals[path] = refusal
    arguments = ("w",) if command is drain else ()
    result = run(command, *arguments, "--http", port.url)
    assert (result.exit_code, result.stderr) == (exit_code, "error: not with ...\n")


def test_a_refusal_in_plain_text_says_how_to_give_a_token(port: HttpPort) -> None:
    port.refusals["/api/workers"] = 401, b"a token is needed"
    result = run(workers, "--http", port.url)
    assert result.exit_code == 6
    assert "401" in result.stderr
    assert "--token-file" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--token-file", "/nowhere/token"), "--token-file: /nowhere/token: there is no such file"),
        (("--ca", "/nowhere/ca"), "--ca: /nowhere/ca: no such file"),
        (("--key", "/dev/null"), "--key needs --certificate"),
        (("--insecure-skip-verify",), "TLS needs a URL of the form https://HOST:PORT"),
    ],
)
def test_a_wrong_option_is_one_line(port: HttpPort, arguments: tuple[str, ...], reason: str) -> None:
    result = list_workers(port, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1
    assert port.authorizations == []


@pytest.mark.parametrize("text", ["", "two words", "x" * 8001])
def test_a_file_without_a_token_is_one_line(port: HttpPort, tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    result = list_workers(port, "--token-file", str(path))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"error: --token-file: {path}: the token ")


def test_https(port: HttpPort, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    port.server.socket = context.wrap_socket(port.server.socket, server_side=True)
    port.url = port.url.replace("http://", "https://")
    assert list_workers(port, "--ca", str(ca)).exit_code == 0
    skipped = list_workers(port, "--insecure-skip-verify")
    assert skipped.exit_code == 0
    assert skipped.stderr.startswith("warning: --insecure-skip-verify: the certificate of https://127.0.0.1")
    unknown = list_workers(port)
    assert unknown.exit_code == 5
    assert "the certificate of 127.0.0.1 is from an authority that is not trusted" in unknown.stderr
    assert "--ca" in unknown.stderr
    assert unknown.stderr.count("\n") == 1


def test_a_token_in_the_clear_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", SECRET)
    result = run(workers, "--http", "http://broker.invalid:1")
    assert result.exit_code == 5
    assert "warning: the token is sent to http://broker.invalid:1 unencrypted" in result.stderr
