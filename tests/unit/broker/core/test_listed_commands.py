"""Which commands metrics show under their own names, and where all others are counted."""

import pytest
from taskferry.broker.core.fleet import roster
from taskferry.broker.core.measures.histogram import Histogram

from tests.unit.broker.core.world import World


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert roster.COMMANDS_LISTED_COUNT_MAX == 1000
    monkeypatch.setattr(roster, "COMMANDS_LISTED_COUNT_MAX", 2)
    monkeypatch.setattr(roster, "COMMANDS_KNOWN_COUNT_MAX", 3)


def listed(world: World) -> list[str]:
    return [command.name for command in world.core.roster.commands.values() if command.is_listed]


def test_the_first_commands_are_listed_up_to_the_bound() -> None:
    world = World()
    world.worker("w", "a", "b")
    assert listed(world) == ["a", "b"]
    world.worker("v", "c", "a")
    assert listed(world) == ["a", "b"]


def test_a_removed_command_makes_room() -> None:
    world = World()
    world.worker("w", "a")
    world.worker("v", "b", "c", "d").leave()
    assert listed(world) == ["a"]
    world.worker("u", "d")
    assert listed(world) == ["a", "d"]


def test_every_removed_command_that_was_listed_makes_room_for_one() -> None:
    world = World()
    world.worker("w", "a", "b", "c", "d").leave()
    assert listed(world) == []
    world.worker("v", "e", "f", "g")
    assert listed(world) == ["e", "f"]


def test_the_counts_of_an_unlisted_command_outlive_it() -> None:
    world = World()
    world.worker("w", "a", "b")
    worker, requester = world.worker("v", "c", "d"), world.requester()
    sent = requester.submit("c")
    waiting = requester.submit("c")
    world.core.turn_ended(world.now, world.now)
    world.sleep(2.0)
    worker.succeed(sent)
    worker.fail(waiting)
    world.core.turn_ended(world.now - 0.5, world.now)
    unlisted = world.core.roster.commands["c"]
    assert not any(unlisted.exemplars.kept)
    worker.leave()
    assert "c" not in world.core.roster.commands
    forgotten = world.core.roster.forgotten
    assert (forgotten.name, forgotten.is_listed) == (roster.OTHER, False)
    assert forgotten.outcomes == {"success": 1, "handler_error": 1}
    assert sum(forgotten.duration.counts) == 2
    assert sum(forgotten.queue_wait.counts) == 1
    assert (forgotten.duration.sum_s, forgotten.queue_wait.sum_s) == (4.0, 2.0)
    assert sum(forgotten.worker_duration.counts) == sum(forgotten.broker_duration.counts) == 2
    later = world.worker("u", "e", "f")
    later.succeed(requester.submit("e"))
    later.leave()
    assert forgotten.outcomes == {"success": 2, "handler_error": 1}, "a count in metrics never falls"


def test_one_histogram_absorbs_another() -> None:
    one, other = Histogram(), Histogram()
    one.observe(0.3)
    other.observe_all(0.3, 2)
    other.observe(1000.0)
    one.absorb(other)
    assert (one.counts[9], one.counts[-1], sum(one.counts)) == (3, 1, 4)
    assert one.sum_s == pytest.approx(1000.9)
