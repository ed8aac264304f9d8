"""Files, the environment and flags make one configuration. Each error in it is a line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from taskferry.configuration.kinds import Dictionary, Number, Switch, Text, Whole
from taskferry.configuration.schema import Table, checked, setting
from taskferry.configuration.sources import FILE_SIZE_BYTES_MAX, ConfigurationError, Sourced, Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Ship:
    name: str = setting("ferry", Text(20), "What it is called.")
    deck_count: int = setting(2, Whole(1, 9), "Decks.", is_live=True)
    speed_s: float | None = setting(
        None, Number(1, 60, "seconds"), "Seconds for a mile.", key="speed", instead="what the wind allows"
    )
    flags: dict[str, str] = setting({}, Dictionary(Text(9), Text(9), 2), "Mast to flag.", option="--flag")  # noqa: RUF009
    log: str | None = setting(None, Text(99, is_path=True), "Where it is written.", instead="none")
    is_new: bool = setting(False, Switch(), "Whether it is new.", key="new", option="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diary:
    level: str = setting("info", Text(9), "How much.")


# The names of the tables are fixed; what is in them is each program's.
SHIP = Table("broker", Ship, "TASKFERRY_BROKER_")
DIARY = Table("log", Diary, "TASKFERRY_LOG_")


def sources(path: Path | None, content: str | bytes = "", **given: Sourced) -> Sources:
    if path is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Sources((SHIP, DIARY), path, {"broker": given})


def complaints(path: Path, content: str | bytes, **given: Sourced) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        sources(path, content, **given).read()
    assert all("\n" not in line for line in error.value.lines)
    return [line.removeprefix(f"{path}: ") for line in error.value.lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "taskferry.toml"


def test_without_anything_all_are_defaults() -> None:
    configuration = sources(None).read()
    assert configuration.settings(SHIP) == Ship()
    assert configuration.given(SHIP) == {}
    assert {found.source for found in configuration.values["broker"].values()} == {"default"}


def test_a_flag_comes_before_the_file_and_the_file_before_the_default(path: Path) -> None:
    content = '[broker]\nname = "nimble"\ndeck_count = 3\nspeed = 5\n[broker.flags]\nfore = "red"\n'
    given = {"deck_count": Sourced(4, "--deck-count"), "name": Sourced("swift", "TASKFERRY_BROKER_NAME")}
    configuration = sources(path, content, **given).read()
    assert configuration.settings(SHIP) == Ship(
        name="swift", deck_count=4, speed_s=5.0, flags={"fore": "red"}
    )
    assert configuration.given(SHIP) == {
        "name": "swift",
        "deck_count": 4,
        "speed_s": 5.0,
        "flags": {"fore": "red"},
    }
    assert {key: found.source for key, found in configuration.values["broker"].items()} == {
        "name": "TASKFERRY_BROKER_NAME",
        "deck_count": "--deck-count",
        "speed": "file",
        "flags": "file",
        "log": "default",
        "new": "default",
    }


def test_a_nested_table_is_replaced_and_not_merged(path: Path) -> None:
    given = Sourced({"aft": "blue"}, "--flag")
    configuration = sources(path, '[broker.flags]\nfore = "red"\n', flags=given).read()
    assert configuration.settings(SHIP).flags == {"aft": "blue"}


def test_a_relative_path_in_the_file_starts_at_its_folder(path: Path) -> None:
    assert sources(path, '[broker]\nlog = "logs/a"\n').read().settings(SHIP).log == str(
        path.parent / "logs/a"
    )
    assert sources(path, '[broker]\nlog = "/logs/a"\n').read().settings(SHIP).log == "/logs/a"
    given = sources(path, '[broker]\nlog = "a"\n', log=Sourced("logs/b", "--log")).read()
    assert given.settings(SHIP).log == "logs/b"


def test_an_empty_file_and_the_tables_of_other_programs_are_allowed(path: Path) -> None:
    for content in ("", '[worker]\nanything = "is not ours"\n[requester]\n'):
        assert sources(path, content).read().settings(SHIP) == Ship()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("[broker]\ndeck_cuont = 1\n", ["[broker] deck_cuont: no such setting; did you mean deck_count?"]),
        ("[broker]\nzzz = 1\n", ["[broker] zzz: no such setting"]),
        ("[broker]\nlevel = 1\n", ["[broker] level: no such setting; it belongs in [log]"]),
        ("[brokre]\n", ["[brokre]: no such table; did you mean [broker]?"]),
        ("[zzz]\n", ["[zzz]: no such table; the tables are [broker], [worker], [requester], [log]"]),
        ("broker = 3\n", ["[broker]: expected a table"]),
        ("zzz = 3\n", ["zzz: is not in a table"]),
        ("level = 3\n", ["level: is not in a table; it belongs in [log]"]),
        (
            "[broker]\ndeck_count = 0\n",
            ["[broker] deck_count: expected a whole number from 1 to 9, got 0"],
        ),
        (
            "[broker]\nname = 1\nspeed = 0.5\n[log]\nlevel = 2\n",
            [
                "[broker] name: expected a text of 0 to 20 characters, got 1; write it in quotes",
                "[broker] speed: expected a number of seconds from 1 to 60, got 0.5",
                "[log] level: expected a text of 0 to 9 characters, got 2; write it in quotes",
            ],
        ),
        ("broker = [", ["not valid TOML: Invalid value (at end of document)"]),
        (b"\xff\xfe", ["not UTF-8 (byte 0)"]),
        ("x = " + "[" * 100_000, ["not valid TOML: maximum recursion depth exceeded"]),
        (
            "#" * (FILE_SIZE_BYTES_MAX + 1),
            [f"over {FILE_SIZE_BYTES_MAX} bytes (FILE_SIZE_BYTES_MAX)"],
        ),
    ],
)
def test_each_error_in_a_file_is_a_line_with_its_place(
    path: Path, content: str | bytes, lines: list[str]
) -> None:
    found = complaints(path, content)
    assert len(found) == len(lines)
    assert all(line.startswith(text) for line, text in zip(found, lines, strict=True)), found


def test_a_file_at_the_bound_is_read(path: Path) -> None:
    assert sources(path, "#" * FILE_SIZE_BYTES_MAX).read().settings(SHIP) == Ship()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, text in ((tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError) as error:
            Sources((SHIP,), path).read()
        assert str(error.value) == f"{path}: {text}"


def test_a_wrong_value_is_an_error_even_if_it_is_overridden(path: Path) -> None:
    given = {"deck_count": Sourced(0, "TASKFERRY_BROKER_DECK_COUNT"), "name": Sourced("x" * 21, "--name")}
    assert complaints(path, "[broker]\ndeck_count = 10\n", **given) == [
        "--name: expected a text of 0 to 20 characters, got 21",
        "[broker] deck_count: expected a whole number from 1 to 9, got 10",
        "TASKFERRY_BROKER_DECK_COUNT: expected a whole number from 1 to 9, got 0",
    ]


def test_the_error_itself_is_one_line_with_the_number_of_the_others(path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        sources(path, "[broker]\nname = 1\nspeed = 0.5\ndeck_count = 0\n").read()
    assert str(error.value) == (
        f"{path}: [broker] name: expected a text of 0 to 20 characters, got 1; write it in quotes (and 2 more)"
    )


def test_it_is_read_again_as_the_file_is_then(path: Path) -> None:
    known = sources(path, "[broker]\ndeck_count = 3\n", name=Sourced("swift", "--name"))
    assert known.read().settings(SHIP) == Ship(name="swift", deck_count=3)
    path.write_text('[broker]\ndeck_count = 4\nname = "other"\n')
    assert known.read().settings(SHIP) == Ship(name="swift", deck_count=4)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"deck_count": 0}, "deck_count: expected a whole number from 1 to 9, got 0"),
        ({"speed_s": 0}, "speed_s: expected a number of seconds from 1 to 60, got 0"),
    ],
)
def test_settings_made_in_code_have_the_same_bounds(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        checked(Ship, values)
    assert str(error.value) == text
    assert checked(Ship, {"deck_count": 9, "speed_s": None}) == Ship(deck_count=9)
