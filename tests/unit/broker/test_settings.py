"""A broker's settings: what a file may say, which values each may have, and the text for what cannot be."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from taskferry.broker.cli import broker
from taskferry.broker.settings import (
    STRATEGY_PATTERNS_COUNT_MAX,
    BrokerSettings,
    SettingsError,
    read_file,
    settings_from,
)
from taskferry.loadbalance.consistent_hash import ConsistentHash
from taskferry.loadbalance.registry import STRATEGIES

BOUNDS = {
    "worker_port": (0, 65535),
    "requester_port": (0, 65535),
    "http_port": (0, 65535),
    "grace": (0, 3600),
    "message_size_bytes_max": (16 * 1024, 64 * 1024 * 1024),
    "queue_count_max": (0, 10_000_000),
    "queue_size_bytes_max": (0, 2**40),
    "in_flight_count_max": (1, 1_000_000),
    "connections_count_max": (1, 1_000_000),
}

TABLES = {"strategies"}
"""Settings that stand in the file alone."""


def complaint(**values: Any) -> str:
    with pytest.raises(SettingsError) as error:
        settings_from(values, source="here")
    return str(error.value)


def test_the_defaults() -> None:
    settings = settings_from({}, source="here")
    assert (settings.worker_port, settings.requester_port, settings.http_port) == (8765, 8766, 8767)
    assert (settings.host, settings.strategy, settings.timeout, settings.grace) == (
        "127.0.0.1",
        "least_loaded",
        30,
        10,
    )


@pytest.mark.parametrize(("name", "low", "high"), [(name, *bounds) for name, bounds in BOUNDS.items()])
def test_each_bound_is_allowed_and_what_is_beyond_is_not(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(settings_from({name: value}, source="here"), name) == value
    for value, bound in ((low - 1, f">= {low}"), (high + 1, f"<= {high}")):
        text = complaint(**{name: value})
        assert text.startswith(f"here: {name}: Expected ")
        assert bound in text


def test_a_timeout_is_more_than_nothing_and_an_hour_at_most() -> None:
    for value in (0.001, 3600):
        assert settings_from({"timeout": value}, source="here").timeout == value
    for value in (0, -1, float("nan")):
        assert complaint(timeout=value) == "here: timeout: Expected `float` > 0.0"
    for value in (3600.1, float("inf")):
        assert complaint(timeout=value) == "here: timeout: Expected `float` <= 3600.0"


def test_every_number_is_bounded() -> None:
    information = msgspec.inspect.type_info(BrokerSettings)
    assert isinstance(information, msgspec.inspect.StructType)
    numbers = {
        field.name
        for field in information.fields
        if isinstance(field.type, msgspec.inspect.Metadata)
        and isinstance(field.type.type, msgspec.inspect.IntType | msgspec.inspect.FloatType)
    }
    assert numbers == set(BOUNDS) | {"timeout"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"worker_port": "8765"}, "here: worker_port: Expected `int`, got `str`"),
        ({"worker_port": 1.5}, "here: worker_port: Expected `int`, got `float`"),
        ({"worker_port": True}, "here: worker_port: Expected `int`, got `bool`"),
        ({"host": 7}, "here: host: Expected `str`, got `int`"),
        ({"timeout": "1"}, "here: timeout: Expected `float`, got `str`"),
        ({"worker_prot": 1}, "here: worker_prot: no such setting; did you mean worker_port?"),
        ({"zzz": 1}, "here: zzz: no such setting"),
        ({"strategy": "best"}, f"here: strategy: 'best' is unknown; one of {', '.join(STRATEGIES)}"),
        (
            {"strategy": "randm"},
            f"here: strategy: 'randm' is unknown; one of {', '.join(STRATEGIES)}; did you mean random?",
        ),
        (
            {"strategies": {"a": "random", "b*": "best"}},
            f"here: strategies: \"b*\": 'best' is unknown; one of {', '.join(STRATEGIES)}",
        ),
        ({"strategies": "random"}, "here: strategies: Expected `object`, got `str`"),
        ({"strategies": {"a": 1}}, "here: strategies: a value: Expected `str`, got `int`"),
        ({"strategies": {"": "random"}}, "here: a key of strategies: Expected `str` of length >= 1"),
        (
            {"strategies": {"x" * 129: "random"}},
            "here: a key of strategies: Expected `str` of length <= 128",
        ),
        (
            {"strategies": {f"x{number}": "random" for number in range(STRATEGY_PATTERNS_COUNT_MAX + 1)}},
            "here: strategies: Expected `object` of length <= 100",
        ),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, Any], text: str) -> None:
    assert complaint(**values) == text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_of_the_registry_can_be_set(strategy: str) -> None:
    assert settings_from({"strategy": strategy}, source="here").strategy == strategy


def test_a_hundred_patterns_are_allowed_and_the_longest() -> None:
    table = {f"x{number}": "random" for number in range(STRATEGY_PATTERNS_COUNT_MAX - 1)} | {
        "y" * 128: "random"
    }
    assert settings_from({"strategies": table}, source="here").strategies == table


def test_the_choice_of_strategy_is_by_the_first_pattern_that_fits() -> None:
    settings = settings_from(
        {"strategy": "random", "strategies": {"resize-*": "consistent_hash", "*": "round_robin"}},
        source="here",
    )
    choice = settings.strategy_choice(lambda: 0.0)
    assert [choice.name_for(command) for command in ("resize-image", "echo")] == [
        "consistent_hash",
        "round_robin",
    ]
    assert isinstance(choice.make("consistent_hash"), ConsistentHash)
    assert settings_from({}, source="here").strategy_choice(lambda: 0.0).name_for("echo") == "least_loaded"


def test_what_governs_the_core_reaches_it() -> None:
    values = {"timeout": 1.5, "queue_count_max": 2, "queue_size_bytes_max": 3, "in_flight_count_max": 4}
    core_settings = settings_from(values, source="here").core_settings()
    assert (core_settings.timeout_s, core_settings.queue_count_max) == (1.5, 2)
    assert (core_settings.queue_size_bytes_max, core_settings.in_flight_count_max) == (3, 4)


def test_a_file_gives_its_table(tmp_path: Path) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_text(
        '[broker]\ntimeout = 5\nstrategy = "random"\n\n[broker.strategies]\n"a*" = "power_of_two"\n\n'
        '[worker]\nanything = "is not ours"\n'
    )
    assert read_file(path) == {
        "timeout": 5,
        "strategy": "random",
        "strategies": {"a*": "power_of_two"},
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"timeout = [", "not valid TOML: "),
        (b"\xff\xfe", ""),
        (b"", "there is no table [broker]"),
        (b"[worker]\nx = 1\n", "there is no table [broker]"),
        (b"broker = 3\n", "there is no table [broker]"),
        (b"[broker]\nqueue_max = 1\n", "queue_max: no such setting; did you mean queue_count_max?"),
        (b'[broker]\ntimeout = "5"\n', "timeout: Expected `float`, got `str`"),
        (b"[broker]\ntimeout = nan\n", "timeout: Expected `float` > 0.0"),
        (b"[broker]\nhttp_port = 65536\n", "http_port: Expected `int` <= 65535"),
        (b'[broker]\nstrategy = "best"\n', "strategy: 'best' is unknown; one of "),
        (b'[broker.strategies]\n"a*" = "best"\n', "strategies: \"a*\": 'best' is unknown; one of "),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        read_file(path)
    assert str(error.value).startswith(f"{path}: {text}")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, text in ((tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError) as error:
            read_file(path)
        assert str(error.value) == f"{path}: {text}"


def test_every_setting_is_an_option_with_its_variable_its_bounds_and_its_default() -> None:
    result = CliRunner().invoke(broker, ["--help"], terminal_width=1000)
    assert result.exit_code == 0
    for name in set(BrokerSettings.__struct_fields__) - TABLES:
        assert f"--{name.replace('_', '-')} " in result.output
        assert f"env var: TASKFERRY_BROKER_{name.upper()}" in result.output
    for name in TABLES:
        assert f"--{name}" not in result.output
        assert f"[broker.{name}]" in result.output
    for name, (low, high) in BOUNDS.items():
        (line,) = (line for line in result.output.splitlines() if f"TASKFERRY_BROKER_{name.upper()}" in line)
        assert f"{low}<=x<={high}" in line.replace(".0", "")
        assert f"[default: {getattr(BrokerSettings(), name)}]" in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--timeout", "0"], "0.0 is not in the range 0<x<=3600.0"),
        (["--timeout", "soon"], "'soon' is not a valid float"),
        (["--timeout", "nan"], "error: broker: timeout: Expected `float` > 0.0"),
        (["--worker-port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--worker-prot", "1"], "No such option '--worker-prot'"),
        (["--log-level", "loud"], "'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        (["--strategy", "best"], "error: broker: strategy: 'best' is unknown"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_a_bad_command_line_is_a_usage_error(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(broker, arguments)
    assert result.exit_code == 2
    assert text in result.output
