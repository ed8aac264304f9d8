"""Reading the file again: all of it applies, or nothing."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from taskferry.configuration.kinds import Text, Whole
from taskferry.configuration.schema import Table, setting
from taskferry.configuration.sources import Sources
from taskferry.log.settings import LOG
from taskferry.program.reload import Reload


@dataclass(frozen=True, slots=True, kw_only=True)
class Ship:
    deck_count: int = setting(2, Whole(1, 9), "Decks.", is_live=True)
    harbour: str | None = setting(None, Text(99, is_url=True), "Where it lies.", instead="at sea")


SHIP = Table("broker", Ship, "TASKFERRY_BROKER_")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "taskferry.toml"
    path.write_text("")
    return path


def reload_of(path: Path) -> Reload[Ship]:
    sources = Sources((SHIP, LOG), path)
    return Reload(sources, sources.read(), SHIP)


def test_live_settings_change_and_the_others_are_named_without_secrets(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "taskferry.program")
    reload = reload_of(path)
    taken: list[Ship] = []
    path.write_text('[broker]\ndeck_count = 3\nharbour = "ws://ada:SECRET@x?SECRET"\n')
    for _ in range(2):
        reload.again(taken.append)
    assert taken == [Ship(deck_count=3)]
    assert reload.settings == Ship(deck_count=3)
    assert [record.getMessage() for record in caplog.records] == [
        "configuration reloaded: deck_count: 2 -> 3",
        "configuration: needs a restart: harbour: at sea -> ws://...@x?...",
        "configuration reloaded: nothing has changed",
        "configuration: needs a restart: harbour: at sea -> ws://...@x?...",
    ]


def test_nothing_changes_if_the_program_refuses_the_settings(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reload = reload_of(path)

    def refuse(_: Ship) -> None:
        raise ValueError("the dock is closed")

    path.write_text('[broker]\ndeck_count = 3\n[log]\nlevel = "debug"\n')
    reload.again(refuse)
    assert reload.settings == Ship()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"configuration not reloaded, nothing has changed: {path}: the dock is closed"
    )
