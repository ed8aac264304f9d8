"""The settings of a broker: their bounds, what reaches the core, and their options."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from taskferry.broker.access.hosts import HOST_RULE, ORIGIN_RULE
from taskferry.broker.cli import broker
from taskferry.broker.core.settings import CoreSettings
from taskferry.broker.jobs.settings import JobSettings
from taskferry.broker.settings import (
    ALLOWED_COUNT_MAX,
    BROKER,
    NO_JOURNAL,
    READY_COMMANDS_COUNT_MAX,
    STRATEGY_PATTERNS_COUNT_MAX,
    BrokerSettings,
)
from taskferry.configuration.kinds import Number, Whole
from taskferry.configuration.schema import checked
from taskferry.configuration.sources import ConfigurationError, Sources
from taskferry.loadbalance.consistent_hash import ConsistentHash
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.program.options import sources_of
from taskferry.protocol.field_types import NAME_RULE

from tests.each_case import each_case

BOUNDS = {
    "worker_port": (0, 65535),
    "requester_port": (0, 65535),
    "http_port": (0, 65535),
    "api_port": (0, 65535),
    "api_messages_per_s": (0, 1_000_000),
    "grace_s": (0, 3600),
    "start_wait_s": (0, 300),
    "message_size_bytes_max": (16 * 1024, 64 * 1024 * 1024),
    "queue_count_max": (0, 10_000_000),
    "queue_size_bytes_max": (0, 2**40),
    "assigned_size_bytes_max": (0, 2**40),
    "in_flight_count_max": (1, 1_000_000),
    "retries_count_max": (0, 10),
    "retries_share_max": (0, 1),
    "hedges_share_max": (0, 1),
    "connections_count_max": (1, 1_000_000),
    "unsent_size_bytes_max": (0, 2**40),
    "address_connections_count_max": (1, 1_000_000),
    "address_handshakes_per_s": (0, 1_000_000),
    "account_connections_count_max": (1, 1_000_000),
    "account_messages_per_s": (0, 10_000_000),
    "account_bytes_per_s": (0, 2**40),
    "account_in_flight_count_max": (1, 10_000_000),
    "account_waiting_size_bytes_max": (0, 2**40),
    "open_count_max": (0, 100_000_000),
    "account_open_count_max": (0, 100_000_000),
    "open_size_bytes_max": (0, 2**50),
    "keep_done_s": (0, 90 * 86_400),
    "keep_dead_s": (0, 90 * 86_400),
    "kept_size_bytes_max": (0, 2**50),
    "schedules_count_max": (0, 100_000),
    "inbox_count_max": (1, 1_000_000),
    "adoption_s": (0, 3600),
    "event_batch_count_max": (1, 1000),
    "event_batch_s": (0, 10),
}

LIVE = {
    "strategy",
    "strategies",
    "timeout",
    "grace",
    "retries_count_max",
    "retries_share_max",
    "hedges_share_max",
    "queue_count_max",
    "queue_size_bytes_max",
    "assigned_size_bytes_max",
    "in_flight_count_max",
    "start_wait",
    "connections_count_max",
    "unsent_size_bytes_max",
    "access",
    "allowed_hosts",
    "allowed_origins",
    "trusted_proxies",
    "address_connections_count_max",
    "address_handshakes_per_s",
    "account_connections_count_max",
    "account_messages_per_s",
    "api_messages_per_s",
    "account_bytes_per_s",
    "account_in_flight_count_max",
    "account_waiting_size_bytes_max",
    "open_count_max",
    "account_open_count_max",
    "open_size_bytes_max",
    "keep_done",
    "keep_dead",
    "kept_size_bytes_max",
    "schedules_count_max",
    "inbox_count_max",
    "adoption",
    "event_batch",
    "event_batch_count_max",
}
"""Settings that a reload changes."""


LIST_OPTIONS = {
    "ready_commands": "--ready-command",
    "allowed_hosts": "--allowed-host",
    "plugins": "--plugin",
    "allowed_origins": "--allowed-origin",
    "trusted_proxies": "--trusted-proxy",
}
"""Settings whose option gives one text of several."""


def made(**values: Any) -> BrokerSettings:
    return checked(BrokerSettings, values)


def complaint(**values: Any) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        made(**values)
    return str(error.value)


def test_the_defaults() -> None:
    settings = made()
    assert settings == BrokerSettings()
    ports = (settings.worker_port, settings.requester_port, settings.http_port, settings.api_port)
    assert ports == (8765, 8766, 8767, 8768)
    assert (settings.host, settings.strategy, settings.timeout_s, settings.grace_s) == (
        "127.0.0.1",
        "least_loaded",
        30,
        10,
    )


@each_case(("name", "low", "high"), [(name, *bounds) for name, bounds in BOUNDS.items()])
def test_each_bound_is_allowed_and_nothing_beyond_it(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(made(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        text = complaint(**{name: value})
        assert text.startswith(f"{name}: expected a ")
        assert text.endswith(f" from {low} to {high}, got {value}")


def test_a_timeout_is_over_zero_and_at_most_an_hour() -> None:
    for value in (0.001, 3600):
        assert made(timeout_s=value).timeout_s == value
    for bad in (0, -1, float("nan"), 3600.1, float("inf")):
        text = complaint(timeout_s=bad)
        assert text == f"timeout_s: expected a number of seconds over 0 and at most 3600, got {bad}"


def test_every_number_is_bounded() -> None:
    settings = BROKER.settings.values()
    numbers = {setting.field for setting in settings if isinstance(setting.kind, Whole | Number)}
    assert numbers == set(BOUNDS) | {"timeout_s"}


def test_the_settings_that_a_reload_changes() -> None:
    assert {key for key, setting in BROKER.settings.items() if setting.is_live} == LIVE


@each_case(
    ("values", "text"),
    [
        ({"strategy": "best"}, f"strategy: 'best' is unknown; one of {', '.join(STRATEGIES)}"),
        (
            {"strategy": "randm"},
            f"strategy: 'randm' is unknown; one of {', '.join(STRATEGIES)}; did you mean random?",
        ),
        (
            {"strategies": {"a": "random", "b*": "best"}},
            f"strategies: \"b*\": 'best' is unknown; one of {', '.join(STRATEGIES)}",
        ),
        ({"strategies": {"": "random"}}, 'strategies: "": expected a text of 1 to 128 characters, got 0'),
        (
            {"strategies": {f"x{number}": "random" for number in range(STRATEGY_PATTERNS_COUNT_MAX + 1)}},
            "strategies: expected at most 100 names, got 101",
        ),
        ({"host": ""}, "host: expected a text of 1 to 255 characters, got 0"),
        ({"allowed_hosts": ["a", "b:80"]}, f'allowed_hosts: "b:80": {HOST_RULE}'),
        ({"allowed_origins": ["https://a/b"]}, f'allowed_origins: "https://a/b": {ORIGIN_RULE}'),
        (
            {"trusted_proxies": ["10.0.0.7/8"]},
            'trusted_proxies: "10.0.0.7/8": expected an address or a network, such as 10.0.0.7 or 10.0.0.0/8',
        ),
        (
            {"ready_commands": ["resize", "*"]},
            f'ready_commands: "*": {NAME_RULE}',
        ),
        (
            {"ready_commands": ["a"] * (READY_COMMANDS_COUNT_MAX + 1)},
            "ready_commands: expected at most 100 texts, got 101",
        ),
        (
            {"allowed_hosts": ["a"] * (ALLOWED_COUNT_MAX + 1)},
            f"allowed_hosts: expected at most {ALLOWED_COUNT_MAX} texts, got {ALLOWED_COUNT_MAX + 1}",
        ),
    ],
)
def test_an_error_names_the_setting(values: dict[str, Any], text: str) -> None:
    assert complaint(**values) == text


def test_a_list_of_the_most_texts_is_allowed() -> None:
    assert len(made(allowed_hosts=["a"] * ALLOWED_COUNT_MAX).allowed_hosts) == ALLOWED_COUNT_MAX


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('tls_certificate = "c.pem"', "tls_certificate: needs tls_key, the file with its private key"),
        (
            'tls_key = "k.pem"',
            "tls_key: needs tls_certificate, the file with the broker's own certificate",
        ),
        (
            'tls_client_ca = "ca.pem"',
            "tls_client_ca: needs tls_certificate, the file with the broker's own certificate",
        ),
        ('tls_certificate = "c.pem"\ntls_key = "k.pem"\ntls_client_ca = "ca.pem"', ""),
    ],
)
def test_files_of_tls_that_come_together(lines: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_text(f"[broker]\n{lines}\n")
    sources = Sources([BROKER], path)
    if not error:
        assert sources.read().settings(BROKER).tls_client_ca == str(tmp_path / "ca.pem")
        return
    with pytest.raises(ConfigurationError) as caught:
        sources.read()
    assert caught.value.lines == (f"{path}: [broker] {error}",)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_of_the_registry_can_be_set(strategy: str) -> None:
    assert made(strategy=strategy).strategy == strategy


def test_a_hundred_patterns_are_allowed_and_the_longest() -> None:
    table = {f"x{number}": "random" for number in range(STRATEGY_PATTERNS_COUNT_MAX - 1)} | {
        "y" * 128: "random"
    }
    assert made(strategies=table).strategies == table


def test_the_first_pattern_that_matches_chooses_the_strategy() -> None:
    settings = made(strategy="random", strategies={"resize-*": "consistent_hash", "*": "round_robin"})
    choice = settings.strategy_choice(lambda: 0.0)
    assert [choice.name_for(command) for command in ("resize-image", "echo")] == [
        "consistent_hash",
        "round_robin",
    ]
    assert isinstance(choice.make("consistent_hash"), ConsistentHash)
    assert made().strategy_choice(lambda: 0.0).name_for("echo") == "least_loaded"


def test_the_settings_of_the_core_reach_it() -> None:
    values = {
        "timeout_s": 1.5,
        "queue_count_max": 2,
        "queue_size_bytes_max": 3,
        "assigned_size_bytes_max": 8,
        "in_flight_count_max": 4,
        "retries_count_max": 5,
        "retries_share_max": 0.6,
        "hedges_share_max": 0.7,
    }
    assert made(**values).core_settings() == CoreSettings(**values)  # type: ignore[arg-type]  # numbers of both kinds
    assert made().core_settings() == CoreSettings()


def test_every_setting_is_an_option_with_its_variable_its_bounds_and_its_default() -> None:
    result = CliRunner().invoke(broker, ["--help"], terminal_width=1000)
    assert result.exit_code == 0
    assert {setting.key for setting in BROKER.settings.values() if not setting.option} == {"strategies"}
    for name in set(BROKER.settings) - {"strategies"}:
        option = LIST_OPTIONS.get(name, f"--{name.replace('_', '-')}")
        assert f"{option} " in result.output
        variable = f"TASKFERRY_BROKER_{option.removeprefix('--').replace('-', '_').upper()}"
        form = " (comma-separated)" if name in LIST_OPTIONS else ""
        assert f"env var: {variable}{form}]" in result.output
    for variable in ("CONFIG", "LOG_LEVEL, TASKFERRY_LOG_LEVEL", "LOG_FORMAT, TASKFERRY_LOG_FORMAT"):
        assert f"env var: TASKFERRY_BROKER_{variable}" in result.output
    settings = {setting.field: setting for setting in BROKER.settings.values()}
    lines = re.sub(r"\n {10,}", "  ", result.output).splitlines()  # a long name has a line of its own
    for name, (low, high) in BOUNDS.items():
        setting = settings[name]
        (line,) = (line for line in lines if line.startswith(f"  {setting.option} "))
        notes = f"[default: {setting.default_text}; from {low} to {high}; env var: {setting.variable}]"
        assert line.endswith(notes)


@each_case(
    ("arguments", "text"),
    [
        (["--timeout", "0"], "--timeout: expected a number of seconds over 0 and at most 3600, got 0"),
        (
            ["--timeout", "soon"],
            '--timeout: expected a number of seconds over 0 and at most 3600, got "soon"',
        ),
        (
            ["--timeout", "nan"],
            "--timeout: expected a number of seconds over 0 and at most 3600, got nan",
        ),
        (["--worker-port", "65536"], "--worker-port: expected a whole number from 0 to 65535, got 65536"),
        (["--worker-prot", "1"], "No such option '--worker-prot'"),
        (["--log-level", "loud"], "'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        (["--log-level", "taskferry=loud"], "'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        (["--log-level", "=debug"], "'=debug' is not of the form LOGGER=LEVEL"),
        (["--log-format", "xml"], "'xml' is not one of 'human', 'json'"),
        (["--strategy", "best"], "--strategy: 'best' is unknown"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_a_bad_command_line_is_a_usage_error(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(broker, arguments)
    assert result.exit_code == 2
    assert text in result.output


@pytest.mark.parametrize(
    ("arguments", "variables", "hosts"),
    [
        ([], {}, ("in.file",)),
        ([], {"TASKFERRY_BROKER_ALLOWED_HOST": "a, b"}, ("a", "b")),
        (["--allowed-host", "c", "--allowed-host", "d"], {"TASKFERRY_BROKER_ALLOWED_HOST": "a"}, ("c", "d")),
    ],
)
def test_a_list_comes_from_the_file_the_environment_or_a_repeated_option(
    arguments: list[str],
    variables: dict[str, str],
    hosts: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_text('[broker]\nallowed_hosts = ["in.file"]\n')
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    context = broker.make_context("broker", ["--config", str(path), *arguments])
    assert sources_of(context, BROKER).read().settings(BROKER).allowed_hosts == hosts


def test_an_empty_text_in_a_list_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_BROKER_ALLOWED_HOST", "a,,b")
    with pytest.raises(ConfigurationError) as caught:
        sources_of(broker.make_context("broker", []), BROKER).read()
    assert caught.value.lines == (
        'TASKFERRY_BROKER_ALLOWED_HOST: "": expected a text of 1 to 255 characters, got 0',
    )


def test_a_journals_path_starts_at_the_files_folder_and_none_is_no_path(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    for text, found in (("jobs.db", str(tmp_path / "jobs.db")), (NO_JOURNAL, NO_JOURNAL)):
        path.write_text(f'[broker]\njournal = "{text}"\n')
        assert Sources([BROKER], path).read().settings(BROKER).journal == found


def test_jobs_get_their_settings_under_their_own_names() -> None:
    changed = {field.name: getattr(JobSettings(), field.name) / 2 for field in fields(JobSettings)}
    changed = {name: int(value) if name.endswith("_max") else value for name, value in changed.items()}
    assert made(**changed).job_settings() == JobSettings(**changed)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (
            "worker_port = 7001\nrequester_port = 7001",
            "requester_port: 7001 is worker_port already; each needs a number of its own",
        ),
        (
            "http_port = 8765",  # the default of another
            "http_port: 8765 is worker_port already; each needs a number of its own",
        ),
        ("worker_port = 0\nrequester_port = 0\nhttp_port = 0\napi_port = 0", ""),
    ],
)
def test_ports_are_different_or_free_ones(lines: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_text(f"[broker]\n{lines}\n")
    if not error:
        Sources([BROKER], path).read()
        return
    with pytest.raises(ConfigurationError) as caught:
        Sources([BROKER], path).read()
    assert caught.value.lines == (f"{path}: [broker] {error}",)
