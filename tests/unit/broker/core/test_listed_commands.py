"""Which commands metrics show under their own names, and where all others are counted."""

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.fleet import directory
from taskferry.broker.core.measures.histogram import Histogram

from tests.unit.broker.core.world import World


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert directory.COMMANDS_LISTED_COUNT_MAX == 1000
    monkeypatch.setattr(directory, "COMMANDS_LISTED_COUNT_MAX", 2)
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 3)


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
    forgotten = world.core.roster.directory.forgotten
    assert (forgotten.name, forgotten.is_listed) == (directory.OTHER, False)
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


def test_a_command_that_is_there_to_stay_takes_the_place_of_one_that_is_gone() -> None:
    assert directory.LISTED_AFTER_S == 60
    world = World()
    requester = world.requester()
    gone = world.worker("w", "a")
    gone.succeed(requester.submit("a"))
    gone.leave()
    world.worker("v", "b")
    assert listed(world) == ["a", "b"]
    live = world.worker("u", "c")
    live.succeed(requester.submit("c"))
    world.worker("t", "d")
    world.sleep(directory.LISTED_AFTER_S - 1.0)
    assert listed(world) == ["a", "b"]
    world.sleep(1.0 + LOOK_INTERVAL_S)
    assert listed(world) == ["b", "c"]
    world.sleep(directory.LISTED_AFTER_S)
    assert listed(world) == ["b", "c"], "none of them is gone"
    books = world.core.roster.directory
    assert books.forgotten.outcomes == {"success": 1}, "what was counted of c as another stays there"
    assert books.ended_before == {"success": 1}
    assert world.core.roster.commands["c"].outcomes == {"success": 1}
    assert "a" not in world.core.roster.commands


def test_workers_that_come_and_go_with_ever_new_names_replace_nothing() -> None:
    world = World()
    world.worker("w", "a", "b").leave()
    for number in range(40):
        worker = world.worker("v", f"new-{number}")
        world.sleep(3.0)
        worker.leave()
    assert listed(world) == ["a", "b"]


def test_what_has_waited_for_a_place_gets_one_that_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMAND_KEPT_S", 100.0)
    world = World()
    leaving = world.worker("w", "a", "b")
    world.sleep(directory.LISTED_AFTER_S)
    world.worker("v", "c")
    second = world.worker("u", "c")
    leaving.leave()
    world.sleep(directory.LISTED_AFTER_S - 1.0)
    second.leave()
    assert listed(world) == ["a", "b"]
    world.sleep(1.0 + LOOK_INTERVAL_S)
    assert listed(world) == ["b", "c"]
    world.worker("t", "d")
    world.sleep(directory.COMMAND_KEPT_S)
    assert listed(world) == ["c", "d"], "b was forgotten, which made room"


def test_what_nobody_serves_and_nobody_requests_is_forgotten_after_a_while() -> None:
    assert directory.COMMAND_KEPT_S == 3600
    world = World()
    requester = world.requester()
    worker = world.worker("w", "a", "b")
    requester.submit("a", target="nobody")
    worker.leave()
    world.sleep(directory.COMMAND_KEPT_S - 1.0)
    assert requester.outcome(requester.submit("a")) == "no_available_workers"
    world.sleep(2.0)
    assert set(world.core.roster.commands) == {"a"}, "it is still asked for"
    assert world.core.next_at > world.now + directory.COMMAND_KEPT_S - 10.0, "nothing is due before"
    world.sleep(directory.COMMAND_KEPT_S)
    assert (world.core.roster.commands, listed(world)) == ({}, [])
    assert world.core.roster.directory.ended_before == {"no_available_workers": 2}
    assert world.core.next_at == float("inf")
    assert requester.outcome(requester.submit("a")) == "no_available_workers"
    assert world.core.roster.unserved_count == 1


def test_a_command_is_new_until_a_worker_serves_it_and_again_once_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory, "COMMAND_KEPT_S", 10.0)
    world = World(start_wait_s=1.0)
    world.core.started(world.now)
    world.requester().submit("a")
    assert world.core.new_commands_count(["a", "b", "b"]) == 2, "also one that was only asked for"
    worker = world.worker("w", "a")
    assert world.core.new_commands_count(["a", "b", "b"]) == 1
    worker.leave()
    world.sleep(9.0)
    assert world.core.new_commands_count(["a"]) == 0, "its worker may come back"
    world.sleep(2.0 + LOOK_INTERVAL_S)
    assert world.core.new_commands_count(["a"]) == 1


def test_a_worker_that_drains_keeps_its_commands_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMAND_KEPT_S", 10.0)
    world = World()
    worker = world.worker("w", "a")
    worker.drain_by_operator()
    world.sleep(30.0)
    worker.resume_by_operator()
    requester = world.requester()
    worker.succeed(requester.submit("a"))
    assert requester.outcome("r1") == "success"


def test_the_changes_of_one_check_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert directory.CHANGED_COUNT_MAX == 200
    monkeypatch.setattr(directory, "CHANGED_COUNT_MAX", 1)
    monkeypatch.setattr(directory, "COMMANDS_LISTED_COUNT_MAX", 9)
    monkeypatch.setattr(directory, "COMMAND_KEPT_S", 10.0)
    world = World()
    world.worker("w", "a", "b").leave()
    world.now += 20.0
    world.worker("v", "c").leave()
    world.core.roster.directory.look(world.now)
    assert set(world.core.roster.commands) == {"b", "c"}
    monkeypatch.setattr(directory, "CHANGED_COUNT_MAX", 9)
    world.core.roster.directory.look(world.now)
    assert set(world.core.roster.commands) == {"c"}, "it has been gone for a moment"
