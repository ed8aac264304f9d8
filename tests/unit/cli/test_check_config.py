"""`taskferry check-config`: every setting in force with its source, and a line for each error."""

import json
import os
from pathlib import Path

import pytest
from taskferry.cli.check_config import all_tables
from taskferry.cli.main import main
from taskferry.configuration.sources import TABLE_NAMES


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("taskferry.toml")


def test_a_variable_that_sets_nothing_is_named(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("")
    monkeypatch.setenv("TASKFERRY_BROKER_TIMOUT", "5")
    monkeypatch.setenv("TASKFERRY_WORKER_NAMES", "x")
    nothing = "is no setting, and changes nothing; did you mean"
    of_broker = (
        f"warning: the environment variable TASKFERRY_BROKER_TIMOUT {nothing} TASKFERRY_BROKER_TIMEOUT?\n"
    )
    of_worker = f"warning: the environment variable TASKFERRY_WORKER_NAMES {nothing} TASKFERRY_WORKER_NAME?\n"
    for words, warnings in (([], of_broker + of_worker), (["broker"], of_broker), (["request"], "")):
        assert run(str(path), *words) == 0
        assert capsys.readouterr().err == warnings


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["check-config", *arguments])
    code = ended.value.code or 0
    assert isinstance(code, int)
    return code


FILE = """
[broker]
timeout = 5
[broker.strategies]
"mail.*" = "round_robin"
"x" = "random"
[worker]
broker = "wss://ada:SECRET@broker/?token=SECRET"
[log]
format = "json"
"""

WORKER_LINES = """\
setting                      value                                                  from
worker.broker                wss://...@broker/?...                                  file
worker.processes             1                                                      default
worker.reload                true                                                   --reload
worker.token_file            the token is TASKFERRY_TOKEN, if it is set             default
worker.ca                    those of the system                                    default
worker.certificate           none                                                   default
worker.key                   in the file of the certificate                         default
worker.insecure_skip_verify  false                                                  default
worker.name                  the module's, else host, process id and random digits  default
worker.concurrency           4                                                      TASKFERRY_WORKER_CONCURRENCY
worker.weight                2                                                      --weight
worker.labels."k"            v=w                                                    --label
worker.labels."l"                                                                   --label
worker.canary                the module's, else none                                default
worker.encoding              the module's, else json                                default
worker.grace                 the module's, else 10 seconds                          default
worker.log_handler_errors    the module's, else false                               default
log.level                    debug                                                  --log-level
log.format                   json                                                   file
log.levels."a.b"             error                                                  --log-level
taskferry.toml has no errors
"""


def test_the_table_of_one_program_with_its_options(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(FILE)
    monkeypatch.setenv("TASKFERRY_WORKER_CONCURRENCY", "4")
    monkeypatch.setenv("TASKFERRY_WORKER_WEIGHT", "3")
    options = ["--weight", "2", "--label", "k=v=w", "--label", "l=", "--reload"]
    options += ["--log-level", "debug", "--log-level", "a.b=error"]
    assert run(str(path), "worker", *options) == 0
    assert capsys.readouterr().out == WORKER_LINES


def test_all_tables_with_each_source(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(FILE)
    monkeypatch.setenv("TASKFERRY_BROKER_GRACE", "3")
    monkeypatch.setenv("TASKFERRY_BROKER_CONFIG", "another-file.toml")
    monkeypatch.setenv("TASKFERRY_LOG_LEVEL", "warning")
    assert run(str(path)) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "broker.host 127.0.0.1 default",
        'broker.strategies."mail.*" round_robin file',
        'broker.strategies."x" random file',
        "broker.timeout 5 seconds file",
        "broker.grace 3 seconds TASKFERRY_BROKER_GRACE",
        "requester.timeout 30 seconds default",
        "log.level warning TASKFERRY_LOG_LEVEL",
        "log.levels none default",
    ):
        assert line in lines
    named = {line.partition(" ")[0].partition('."')[0] for line in lines[1:-1]}
    assert named == {f"{table.name}.{key}" for table in all_tables() for key in table.settings}


@pytest.mark.parametrize("arguments", [["--json", "taskferry.toml"], ["taskferry.toml", "--json"]])
def test_as_json(path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    path.write_text(FILE)
    assert run(*arguments, "broker", "--http-port", "0", "--api-port", "0") == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (answer["file"], list(answer["settings"])) == ("taskferry.toml", ["broker", "log"])
    settings = answer["settings"]["broker"]
    assert settings["http_port"] == {"value": 0, "from": "--http-port"}
    assert settings["timeout"] == {"value": 5.0, "from": "file"}
    assert settings["strategies"] == {"value": {"mail.*": "round_robin", "x": "random"}, "from": "file"}
    assert run(*arguments) == 0
    assert "SECRET" not in capsys.readouterr().out


WRONG = """
timeout = 5
[broker]
timout = 5
http_port = 70000
strategy = "randm"
[broker.strategies]
"a*" = "best"
[wroker]
[worker]
weight = "2"
name = "a b"
[requester]
timeout = 0
[log]
level = "inf"
[log.levels]
"taskferry.websocket" = "debug"
"""

STRATEGIES = (
    "one of least_loaded, round_robin, random, weighted_random, weighted_round_robin, power_of_two, "
    "latency_aware, consistent_hash"
)
ERRORS = f"""\
error: taskferry.toml: timeout: is not in a table; it belongs in [broker]
error: taskferry.toml: [broker] timout: no such setting; did you mean timeout?
error: taskferry.toml: [wroker]: no such table; did you mean [worker]?
error: taskferry.toml: [broker] http_port: expected a whole number from 0 to 65535, got 70000
error: taskferry.toml: [broker] strategy: 'randm' is unknown; {STRATEGIES}; did you mean random?
error: taskferry.toml: [broker] strategies: "a*": 'best' is unknown; {STRATEGIES}
error: taskferry.toml: [worker] name: only letters, digits and _ . : @ / - may be used, a letter or digit first
error: taskferry.toml: [worker] weight: expected a number from 0.01 to 100, got "2"; write it without quotes
error: taskferry.toml: [requester] timeout: expected a number of seconds over 0 and at most 3600, got 0
error: taskferry.toml: [log] level: expected one of debug, info, warning, error, got "inf"; did you mean info?
error: taskferry.toml: [log] levels: "taskferry.websocket": debug would log payloads and tokens; \
the lowest level allowed is info
"""


def test_each_error_is_a_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(WRONG)
    assert run(str(path)) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", ERRORS)
    assert run(str(path), "--json", "broker") == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["errors"] == [line.removeprefix("error: ") for line in ERRORS.splitlines()]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (
            "[worker]\nbroker = 'http://ada:SECRET@broker:8765'",
            "[worker] broker: 'http://...@broker:8765' is not a URL of the form ws://HOST:PORT or wss://HOST:PORT",
        ),
        (
            "[requester]\nbroker = 'broker:8766'",
            "[requester] broker: 'broker:8766' is not a URL of the form ws://HOST:PORT or wss://HOST:PORT",
        ),
        (
            "[worker]\nbroker = 'ws://broker:8765'\nca = 'ca.pem'",
            "[worker] ca: TLS needs a URL of the form wss://HOST:PORT; ws:// is not encrypted",
        ),
        (
            "[broker]\nrequester_port = 8765",
            "[broker] requester_port: 8765 is worker_port already; each needs a number of its own",
        ),
    ],
)
def test_what_no_program_could_start_with_is_an_error(
    lines: str, error: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(lines)
    assert run(str(path)) == 2
    assert capsys.readouterr().err == f"error: taskferry.toml: {error}\n"


def test_errors_in_the_environment_and_in_flags(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("[broker]\nhost = 1\n")
    monkeypatch.setenv("TASKFERRY_BROKER_GRACE", "-3")
    assert run(str(path)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(
        "[broker] host: expected a text of 1 to 255 characters, got 1; write it in quotes"
    )
    assert lines[1:] == ["error: TASKFERRY_BROKER_GRACE: expected a number of seconds from 0 to 3600, got -3"]
    path.write_text("")
    monkeypatch.delenv("TASKFERRY_BROKER_GRACE")
    assert run(str(path), "broker", "--strategy", "best") == 2
    assert capsys.readouterr().err.startswith("error: --strategy: 'best' is unknown; ")
    assert run(str(path), "broker", "--unheard-of") == 2
    assert "No such option '--unheard-of'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "error: Missing argument 'FILE'. (try: taskferry check-config --help)"),
        (["none.toml"], "error: none.toml: No such file or directory"),
        (
            ["none.toml", "demo"],
            "error: 'demo' is not a program that reads a file; the programs are broker, worker, request "
            "(try: taskferry check-config --help)",
        ),
    ],
)
def test_a_file_or_program_that_does_not_exist(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    del path
    assert run(*arguments) == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_the_access_file_is_checked_as_well_and_its_secrets_are_not_shown(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "SECRET" * 6
    access = Path("access.toml")
    token = f"tokens = [{{ sha256 = '{'5EC8E7' * 10}0000' }}]"
    jwt = f"[jwt]\naudience = 'a'\n[jwt.keys.k]\nalgorithm = 'HS256'\nsecret = '{secret}'"
    access.write_text(f"[identities.alice]\n{token}\n{jwt}")
    access.chmod(0o600)
    path.write_text('[broker]\naccess = "access.toml"\n')
    assert run(str(path), "broker") == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("access.toml has no errors; identities: 1, tokens: 1\n")
    assert printed.err == ""
    assert run(str(path), "--json") == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["access"] == {
        "file": "access.toml",
        "identities_count": 1,
        "tokens_count": 1,
        "warnings": [],
    }
    assert run(str(path), "worker") == 0
    assert "access.toml" not in capsys.readouterr().out
    access.write_text(f"[identities.alice]\ncals = 1\n{jwt}\nSECRET = 1\nissuer = 5")
    for arguments in ([], ["--json"]):
        assert run(str(path), *arguments) == 2
        printed = capsys.readouterr()
        lines = printed.err.splitlines() if not arguments else json.loads(printed.out)["errors"]
        assert lines[0].endswith("access.toml: [identities.alice] cals: no such key; did you mean call?")
        assert secret not in printed.out + printed.err
    access.unlink()
    assert run(str(path)) == 2
    assert capsys.readouterr().err == "error: access.toml: No such file or directory\n"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the mode says nothing")
def test_a_warning_about_the_access_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    access = Path("access.toml")
    access.write_text(f"[jwt]\naudience = 'a'\n[jwt.keys.k]\nalgorithm = 'HS256'\nsecret = '{'s' * 32}'")
    access.chmod(0o644)
    path.write_text('[broker]\naccess = "access.toml"\n')
    assert run(str(path)) == 0
    assert capsys.readouterr().err.startswith("warning: access.toml: holds a secret")


def test_the_certificate_is_checked_as_well(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text('[broker]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n')
    Path("cert.pem").write_text("no certificate")
    assert run(str(path)) == 2
    assert capsys.readouterr().err == (
        "error: tls_certificate cert.pem: holds no certificate in PEM format\n"
    )
    assert run(str(path), "worker") == 0


def test_every_table_that_a_file_can_have_is_checked() -> None:
    assert [table.name for table in all_tables()] == list(TABLE_NAMES)
