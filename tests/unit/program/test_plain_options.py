"""Options that no file can set: their bounds, defaults, variables and help."""

import ast
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from taskferry.configuration.kinds import Number, Whole
from taskferry.program.plain_options import option

from tests.each_case import each_case


@click.command()
@option("--speed", kind=Number(0.5, 9, "knots"), default=2.5, variables="SHIP_", help="How fast.")
@option("--deck-count", kind=Whole(1, 9), default_text="as built", help="Decks.")
@option("--flag", variables="SHIP_", help="What it flies.")
def sail(**given: Any) -> None:
    click.echo(given)


def invoked(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(sail, arguments, env=environment, terminal_width=120)


def given(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return ast.literal_eval(result.stdout)


def test_what_is_left_out_is_the_default_or_none() -> None:
    assert given(invoked()) == {"speed": 2.5, "deck_count": None, "flag": None}


@pytest.mark.parametrize(("word", "value"), [("0.5", 0.5), ("9", 9.0), ("1e0", 1.0)])
def test_a_number_within_bounds(word: str, value: float) -> None:
    speed = given(invoked("--speed", word))["speed"]
    assert (speed, type(speed)) == (value, float)


@each_case(
    ("option", "word", "text"),
    [
        ("--speed", "0.4", "expected a number of knots from 0.5 to 9, got 0.4"),
        ("--speed", "9.1", "expected a number of knots from 0.5 to 9, got 9.1"),
        ("--speed", "nan", "expected a number of knots from 0.5 to 9, got nan"),
        ("--speed", "fast", 'expected a number of knots from 0.5 to 9, got "fast"'),
        ("--deck-count", "0", "expected a whole number from 1 to 9, got 0"),
        ("--deck-count", "1.5", "expected a whole number from 1 to 9, got 1.5"),
    ],
)
def test_an_error_names_the_option_and_its_bounds(option: str, word: str, text: str) -> None:
    result = invoked(option, word)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': {text}" in result.stderr


def test_the_environment_gives_what_the_command_line_does_not() -> None:
    environment = {"SHIP_SPEED": "3", "SHIP_FLAG": "jack", "SHIP_DECK_COUNT": "4"}
    found = given(invoked("--flag", "none", **environment))
    assert found == {"speed": 3.0, "deck_count": None, "flag": "none"}


def test_the_help_has_defaults_bounds_and_variables() -> None:
    lines = [" ".join(line.split()) for line in invoked("--help").stdout.splitlines()]
    for line in (
        "--speed KNOTS How fast. [default: 2.5 knots; from 0.5 to 9; env var: SHIP_SPEED]",
        "--deck-count NUMBER Decks. [default: as built; from 1 to 9]",
        "--flag TEXT What it flies. [env var: SHIP_FLAG]",
    ):
        assert line in lines
