"""`taskferry request`: what its options do to a request, and how a failure is shown."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from taskferry.requester.cli import request
from taskferry.requester.routing_arguments import RoutingError, routing_from
from taskferry.transport.admission import Refusal, RefusalReason

from tests.unit.requester.fake_broker import FakeBrokerThread


@pytest.fixture
def broker() -> Iterator[FakeBrokerThread]:
    with FakeBrokerThread() as broker:
        yield broker


def test_help_loads_nothing_that_a_request_needs() -> None:
    # The modules are counted rather than the milliseconds, which on a busy machine say nothing.
    heavy = "{'asyncio', 'msgpack', 'msgspec', 'rich', 'websockets'}"
    program = f"""
import sys
from taskferry.requester.cli import request
try:
    request(["--help"])
except SystemExit as ended:
    assert ended.code == 0
sys.exit(str({heavy} & set(sys.modules) or ''))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "--timeout" in done.stdout


def run(broker: FakeBrokerThread, *arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(request, ["--broker", broker.url, *arguments], env=environment)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ([], {"target": None, "hedge": None, "idempotent": False, "priority": None, "affinity": None}),
        (["--target", "vm-1"], {"target": "vm-1"}),
        (["--label", "gpu=yes"], {"target": {"gpu": "yes"}}),
        (["--label", "gpu="], {"target": {"gpu": ""}}),
        (["--label", "path=a=b"], {"target": {"path": "a=b"}}),
        (
            ["--label", "zone=a", "--label", "gpu=yes", "--label", "zone=b"],
            {"target": {"zone": ["a", "b"], "gpu": "yes"}},
        ),
        (["--idempotent", "--hedge", "0.05"], {"hedge": 0.05, "idempotent": True}),
        (["--idempotent", "--hedge", "1"], {"hedge": 1.0}),
        (["--idempotent", "--hedge", "p95"], {"hedge": "p95"}),
        (["--priority", "9", "--affinity", "customer-1"], {"priority": 9, "affinity": "customer-1"}),
    ],
)
@pytest.mark.parametrize("count", [[], ["--count", "1"]])
def test_options_travel_with_the_request(
    broker: FakeBrokerThread, arguments: list[str], sent: dict[str, Any], count: list[str]
) -> None:
    assert run(broker, "echo", *arguments, *count).exit_code == 0
    (message,) = broker.broker.requests
    assert {name: getattr(message, name) for name in sent} == sent


def test_each_may_come_by_environment(broker: FakeBrokerThread) -> None:
    environment = {"TASKFERRY_REQUEST_IDEMPOTENT": "1", "TASKFERRY_REQUEST_HEDGE": "p99"}
    environment |= {"TASKFERRY_REQUEST_LABEL": "zone=a zone=b", "TASKFERRY_REQUEST_AFFINITY": "k"}
    assert run(broker, "echo", environment=environment).exit_code == 0
    (message,) = broker.broker.requests
    assert (message.idempotent, message.hedge) == (True, "p99")
    assert (message.target, message.affinity) == ({"zone": ["a", "b"]}, "k")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--target", "vm-1", "--label", "gpu=yes"],
            "--target names one worker, and --label any worker that has it: give one of them",
        ),
        (["--label", "gpu"], "--label: 'gpu' is not of the form K=V"),
        (["--label", "=yes"], "--label: '=yes' is not of the form K=V"),
        (["--label", f"gpu={'x' * 129}"], "--label: Expected `str` of length <= 128"),
        (["--label", f"{'x' * 129}=yes"], "--label: a key: Expected `str` of length <= 128"),
        (
            [word for n in range(33) for word in ("--label", f"k{n}=v")],
            "--label: Expected `object` of length <= 32",
        ),
        (
            [word for n in range(33) for word in ("--label", f"k=v{n}")],
            "--label: Expected `array` of length <= 32",
        ),
        (["--target", "x" * 129], "--target: Expected `str` of length <= 128"),
        (["--hedge", "p95"], "--hedge needs --idempotent: the command may run twice"),
        (["--idempotent", "--hedge", "nan"], "--hedge: Expected `float` >= 0.001"),
        (["--idempotent", "--hedge", "0"], "--hedge: Expected `float` >= 0.001"),
        (["--idempotent", "--hedge", "inf"], "--hedge: Expected `float` <= 3600.0"),
        (
            ["--idempotent", "--hedge", "p100"],
            "--hedge: expected a number of seconds, or a percentile: p1 to p99",
        ),
        (
            ["--idempotent", "--hedge", "soon"],
            "--hedge: expected a number of seconds, or a percentile: p1 to p99",
        ),
    ],
)
def test_contradicting_options_are_one_line_and_nothing_is_sent(
    broker: FakeBrokerThread, arguments: list[str], line: str
) -> None:
    result = run(broker, "echo", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"Error: {line}"
    assert broker.broker.connection_count == 0


def test_a_target_of_an_empty_worker_id_is_not_the_same_as_none() -> None:
    assert routing_from("", [], None, idempotent=False)["target"] == ""
    with pytest.raises(RoutingError, match="give one of them"):
        routing_from("", ["gpu=yes"], None, idempotent=False)


FAILURE = {
    "code": "overloaded",
    "error": "Broker overloaded",
    "delivery": "not_delivered",
    "queue_wait": 0.25,
    "retry_after": 2.0,
}
FAILURE_LINE = (
    "error: Broker overloaded [overloaded, worker-1, not delivered, waited 0.25 s, try again in 2 s]\n"
)


def test_a_failure_is_one_line_with_all_that_is_known(broker: FakeBrokerThread) -> None:
    result = run(broker, "fail", json.dumps(FAILURE))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", FAILURE_LINE)


def test_the_first_failure_of_many_is_shown_whole(broker: FakeBrokerThread) -> None:
    result = run(broker, "fail", json.dumps(FAILURE), "--count", "3")
    assert (result.exit_code, result.stderr) == (1, FAILURE_LINE)


def test_a_failure_as_json_has_all_that_is_known(broker: FakeBrokerThread) -> None:
    result = run(broker, "fail", json.dumps(FAILURE), "--json")
    assert FAILURE.items() <= json.loads(result.stdout).items()
    assert (result.exit_code, result.stderr) == (1, "")


def test_settings_may_come_from_a_file(broker: FakeBrokerThread, tmp_path: Path) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_text(f'[requester]\nbroker = "{broker.url}"\ntimeout = 7\nraw = true\njson = false\n')
    environment = {"TASKFERRY_REQUEST_CONFIG": str(path)}
    result = CliRunner().invoke(request, ["echo", '"as it is"'], env=environment)
    assert (result.exit_code, result.stdout) == (0, "as it is\n")
    (message,) = broker.broker.requests
    assert message.timeout == pytest.approx(7, abs=0.5)
    path.write_text("[requester]\ntimeout = 0\nwiat = true\n")
    result = CliRunner().invoke(request, ["echo"], env=environment)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"Error: {path}: [requester] wiat: no such setting; did you mean wait? (and 1 more)"
    )


SECRET = "tfk_marked-and-never-shown"


def test_a_token_comes_from_a_file_or_the_environment(broker: FakeBrokerThread, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    settings = tmp_path / "taskferry.toml"
    settings.write_text('[requester]\ntoken_file = "token"\n')  # beside it
    variable = {"TASKFERRY_TOKEN": "of-the-variable"}
    for arguments, token in (
        ([], "of-the-variable"),
        (["--token-file", str(path)], SECRET),
        (["--config", str(settings)], SECRET),
    ):
        result = run(broker, "echo", *arguments, environment=variable)
        assert (result.exit_code, result.stderr) == (0, "")
        assert broker.broker.tokens.pop() == token


@pytest.mark.parametrize(("status", "exit_code"), [(401, 6), (403, 6), (429, 7)])
@pytest.mark.parametrize("options", [[], ["--count", "2"], ["--wait"]])
def test_a_broker_that_refuses_ends_it_at_once(
    broker: FakeBrokerThread, status: int, exit_code: int, options: list[str]
) -> None:
    refusal = Refusal(HTTPStatus(status), "not you", RefusalReason.UNAUTHENTICATED, {"Retry-After": "9"})
    broker.broker.admit = lambda _: refusal
    timeout = "0.3" if status == 429 and "--wait" in options else "60"  # waiting may help there
    result = run(broker, "echo", "--timeout", timeout, *options, environment={"TASKFERRY_TOKEN": SECRET})
    assert result.exit_code == exit_code
    assert f"handshake refused: {status} not you" in result.stderr
    assert result.stderr.count("\n") == 1
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("code", "exit_code"), [("unauthenticated", 6), ("forbidden", 6), ("rate_limited", 7), ("overloaded", 1)]
)
def test_a_refused_request_has_its_exit_code(broker: FakeBrokerThread, code: str, exit_code: int) -> None:
    result = run(broker, "fail", json.dumps({"code": code, "error": "no", "retry_after": 2.5}))
    assert result.exit_code == exit_code
    assert f"error: no [{code}, worker-1, try again in 2.5 s]" in result.stderr


@pytest.mark.parametrize(
    ("options", "environment", "reason"),
    [
        (["--token-file", "/nowhere/token"], {}, "--token-file: /nowhere/token: there is no such file"),
        ([], {"TASKFERRY_TOKEN": "two words"}, "TASKFERRY_TOKEN: the token has other characters"),
        (["--broker", "wss://x", "--ca", "/nowhere/ca"], {}, "--ca: /nowhere/ca: no such file"),
        (["--broker", "wss://x", "--ca", __file__], {}, "is not a PEM file of certificates"),
        (["--key", "/nowhere/key"], {}, "TLS needs a URL of the form wss://HOST:PORT"),
        (["--insecure-skip-verify"], {}, "TLS needs a URL of the form wss://HOST:PORT"),
    ],
)
def test_a_login_that_cannot_be_is_one_line(
    broker: FakeBrokerThread, options: list[str], environment: dict[str, str], reason: str
) -> None:
    result = run(broker, "echo", *options, environment=environment)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert broker.request_count == 0


def test_what_is_unsafe_is_warned_of_each_time() -> None:
    for url, warning in (
        ("wss://broker.invalid", "the certificate of wss://broker.invalid is not checked"),
        ("ws://broker.invalid", "the token is sent to ws://broker.invalid unencrypted"),
    ):
        options = ["--insecure-skip-verify"] if url.startswith("wss") else []
        result = CliRunner().invoke(
            request, ["echo", "--broker", url, *options], env={"TASKFERRY_TOKEN": SECRET}
        )
        assert result.exit_code == 5
        assert result.stderr.count("warning: ") == 1
        assert warning in result.stderr
        assert SECRET not in result.output
