"""Reading the file again: all of it applies, or nothing."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from taskferry.configuration.kinds import Text, Whole
from taskferry.configuration.schema import Table, setting
from taskferry.configuration.sources import ConfigurationError, Sources
from taskferry.log.settings import LOG
from taskferry.program.reload import OtherFile, Reload


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


class Other:
    """A file beside the configuration: `error`, if it cannot be read, and what was put in force."""

    def __init__(self) -> None:
        self.error = ""
        self.in_force: list[str | None] = []

    def read(self, ship: "Boat") -> Callable[[], object] | None:
        if self.error:
            raise ConfigurationError([self.error])
        if ship.harbour == "none":
            return None
        return lambda: self.in_force.append(ship.harbour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boat(Ship):
    """A ship with a harbour that a reload changes."""

    harbour: str | None = setting(None, Text(99), "Where it lies.", instead="at sea", is_live=True)


BOAT = Table("broker", Boat, "TASKFERRY_BROKER_")


def nothing(_: Ship) -> None:
    pass


def test_another_file_is_read_again_also_if_the_first_has_not_changed_or_has_an_error(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = Sources((BOAT, LOG), path)
    reload = Reload(sources, sources.read(), BOAT)
    other = Other()
    others = [OtherFile("chart", other.read)]
    reload.again(nothing, others)
    path.write_text('[broker]\nharbour = "Kiel"\n')
    reload.again(nothing, others)
    path.write_text("[broker]\ndeck_count = 0\n")
    reload.again(nothing, others)
    assert other.in_force == [None, "Kiel", "Kiel"], "with the settings that come into force"
    caplog.clear()
    path.write_text("[broker]\ndeck_count = 3\n")
    other.error = "chart.toml: it is torn"
    reload.again(nothing, others)
    assert reload.settings.deck_count == 3
    assert [record.getMessage() for record in caplog.records] == [
        "chart not reloaded, what was read before stays in force: chart.toml: it is torn"
    ]


def test_another_file_needs_no_configuration_file(caplog: pytest.LogCaptureFixture) -> None:
    sources = Sources((BOAT, LOG))
    reload = Reload(sources, sources.read(), BOAT)
    other = Other()
    reload.again(nothing, [OtherFile("chart", other.read)])
    assert (other.in_force, caplog.records) == ([None], [])
    reload.again(nothing, [OtherFile("chart", lambda ship: None)])
    (record,) = caplog.records
    assert record.getMessage() == (
        "configuration not reloaded, nothing has changed: there is no file: started without --config"
    )


def test_a_file_that_goes_away_while_it_is_read_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def gone(_: Boat) -> None:
        Path("/nonexistent/key.pem").read_bytes()

    sources = Sources((BOAT, LOG))
    reload = Reload(sources, sources.read(), BOAT)
    other = Other()
    reload.again(nothing, [OtherFile("chart", other.read), OtherFile("key", gone)])
    assert other.in_force == [None]
    (record,) = caplog.records
    assert record.getMessage().startswith("key not reloaded, what was read before stays in force: ")


async def test_in_a_loop_files_are_read_in_a_thread_one_reload_after_another() -> None:
    sources = Sources((BOAT, LOG))
    reload = Reload(sources, sources.read(), BOAT)
    may_read, threads, count = threading.Event(), [], 0

    def read(_: Boat) -> Callable[[], object]:
        threads.append(threading.current_thread())
        assert may_read.wait(10)
        return put_in_force

    def put_in_force() -> None:
        nonlocal count
        count += 1
        assert threading.current_thread() is threading.main_thread()

    others = [OtherFile("chart", read)]
    reload.soon(nothing, others)
    async with asyncio.timeout(10):
        while not threads:
            await asyncio.sleep(0.001)
        for _ in range(3):
            reload.soon(nothing, others)  # asked while it reads: once more, however often
        may_read.set()
        while count < 2:
            await asyncio.sleep(0.001)
    assert len(threads) == 2
    assert threading.main_thread() not in threads
    reload.stop()
