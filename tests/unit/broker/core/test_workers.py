"""Workers join, drain, reconnect under their name, and leave; pools follow."""

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.delivery.deadlines import NEVER
from taskferry.broker.core.fleet import directory
from taskferry.broker.core.fleet.directory import COMMAND_KEPT_S
from taskferry.broker.core.fleet.worker import TRANSITIONS, WorkerEvent, WorkerState
from taskferry.broker.core.health.canary import CANARY_INTERVAL_S
from taskferry.protocol.errors import WorkerIdTaken

from tests.unit.broker.core.world import CANARY, FakeWorker, World


def test_a_draining_worker_gets_nothing_more_and_finishes_what_it_has() -> None:
    world = World("round_robin")
    leaving, staying = world.worker("leaving", concurrency=2), world.worker("staying", concurrency=2)
    requester = world.requester()
    first, second = requester.submit(), requester.submit()
    leaving.drain()
    third, fourth = requester.submit(), requester.submit()
    assert leaving.state == "draining"
    assert (leaving.holds, staying.holds) == ([first], [second, third])
    leaving.succeed(first)
    assert leaving.holds == [], "a free slot of a draining worker takes nothing"
    assert requester.outcome(fourth) is None
    assert requester.answer(first).worker_id == "leaving"
    leaving.leave()
    assert leaving.state == "gone"


def test_what_a_worker_is_when_it_has_just_joined() -> None:
    world = World()
    worker = world.worker("w", sdk="taskferry 1.0", labels={"gpu": "yes"}, weight=2.0).session
    assert (worker.sdk, worker.labels, worker.weight) == ("taskferry 1.0", {"gpu": "yes"}, 2.0)
    assert worker.connected_at == world.now
    assert (worker.speed, worker.latency) == (1.0, 1.0)
    assert (worker.state, worker.reason, worker.verdict) == (WorkerState.HEALTHY, "", "")
    joining = world.worker("joining", canary="echo").session
    assert (joining.state, joining.verdict) == (WorkerState.JOINING, "")


def test_the_results_of_a_worker_are_counted_over_all_its_commands() -> None:
    world = World()
    worker, requester = world.worker("w", "a", "b", "c"), world.requester()
    for command in ("a", "b", "b"):
        worker.succeed(requester.submit(command))
    for command, code in (("a", None), ("b", "bad_request"), ("b", "bad_request"), ("c", None), ("c", None)):
        worker.fail(requester.submit(command), code=code)
    assert (worker.session.succeeded_count, worker.session.failed_count) == (3, 5)


def test_the_core_wakes_up_for_its_checks_only_while_there_are_workers() -> None:
    world = World()
    assert world.core.next_at == NEVER
    worker = world.worker()
    assert world.core.next_at == world.now + LOOK_INTERVAL_S
    worker.leave()
    world.sleep(LOOK_INTERVAL_S)
    assert world.core.next_at == world.now - LOOK_INTERVAL_S + COMMAND_KEPT_S, "to forget the command"
    world.worker()
    assert world.core.next_at == world.now + LOOK_INTERVAL_S


def test_every_assignment_of_a_worker_has_its_own_msg_id() -> None:
    world = World()
    worker, requester = world.worker("w", canary="echo", concurrency=9), world.requester()
    msg_ids = [worker.msg_id(CANARY)]
    worker.succeed(CANARY)
    for _ in range(2):
        msg_ids += [worker.msg_id(requester.submit()) for _ in range(3)]
        world.sleep(CANARY_INTERVAL_S + LOOK_INTERVAL_S)
        msg_ids.append(worker.msg_id(CANARY))
        worker.succeed(CANARY)
    assert len(set(msg_ids)) == len(msg_ids) == 9


def test_a_worker_may_say_disconnect_twice() -> None:
    world = World()
    worker = world.worker()
    worker.drain()
    worker.drain()
    assert worker.session.state is WorkerState.DRAINING


def test_requests_that_wait_only_for_a_draining_worker_fail_at_once() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    running, waiting = requester.submit(), requester.submit()
    worker.drain()
    assert requester.outcome(waiting) == "no_available_workers"
    assert requester.outcome(requester.submit()) == "no_available_workers"
    worker.succeed(running)
    assert requester.outcome(running) == "success"


def test_assignments_of_a_draining_worker_end_if_it_leaves_too_soon() -> None:
    world = World("round_robin")
    leaving, staying = world.worker("leaving", concurrency=2), world.worker("staying", concurrency=2)
    requester = world.requester()
    lost, _, again = requester.submit(), requester.submit(), requester.submit(idempotent=True)
    leaving.drain()
    leaving.leave()
    assert requester.outcome(lost) == "worker_lost"
    assert again in staying.holds


def test_another_worker_cannot_take_over_a_worker_id() -> None:
    world = World()
    worker = world.worker("w", instance="one")
    for instance in ("two", None):
        with pytest.raises(WorkerIdTaken) as taken:
            world.worker("w", instance=instance)
        assert taken.value.text == "name: another worker is connected as 'w'"
    world.check()
    assert not worker.is_replaced
    requester = world.requester()
    requester.submit()
    assert worker.holds == ["r1"]


def test_a_session_may_ask_first_whether_its_worker_id_is_taken() -> None:
    world = World()
    worker = world.worker("w", instance="one", identity="alice")
    world.core.check_worker_id("free", worker.offer, "mallory")
    world.core.check_worker_id("w", worker.offer, "alice")
    with pytest.raises(WorkerIdTaken):
        world.core.check_worker_id("w", worker.offer, "mallory")


def test_a_worker_is_replaced_only_by_the_same_identity() -> None:
    world = World()
    worker = world.worker("w", instance="one", identity="alice")
    with pytest.raises(WorkerIdTaken):
        world.worker("w", instance="one", identity="mallory")
    assert not worker.is_replaced
    requester = world.requester()
    requester.submit()
    assert worker.holds == ["r1"]
    world.worker("w", instance="one", identity="alice")
    assert worker.is_replaced


def test_workers_without_an_instance_never_replace_each_other() -> None:
    world = World()
    world.worker("w")
    with pytest.raises(WorkerIdTaken):
        world.worker("w")


def test_a_worker_that_reconnects_replaces_its_old_connection() -> None:
    world = World()
    old = world.worker("w", instance="one", concurrency=3)
    requester = world.requester()
    written, again = requester.submit(), requester.submit(idempotent=True)
    old.is_stuck = True
    unwritten = requester.submit()
    new = world.worker("w", instance="one", concurrency=3)
    assert old.is_replaced
    assert old.session.state is WorkerState.GONE
    assert requester.outcome(written) == "worker_lost"
    assert sorted(new.holds) == sorted([again, unwritten])
    assert world.core.roster.workers["w"] is new.session
    for request_id in (again, unwritten):
        new.succeed(request_id)
        assert requester.answer(request_id).worker_id == "w"


def test_a_worker_id_is_free_again_once_its_worker_has_left() -> None:
    world = World()
    world.worker("w", instance="one").leave()
    worker = world.worker("w", instance="two")
    requester = world.requester()
    requester.submit()
    assert worker.holds == ["r1"]


def test_the_table_of_states_is_complete_and_the_last_state_is_final() -> None:
    assert {state for state, _ in TRANSITIONS} == set(WorkerState) - {WorkerState.GONE}
    assert set(TRANSITIONS.values()) | {WorkerState.JOINING} == set(WorkerState)
    for state in set(WorkerState) - {WorkerState.GONE}:
        assert TRANSITIONS[state, WorkerEvent.LEAVING] is WorkerState.DRAINING
        assert TRANSITIONS[state, WorkerEvent.LOST] is WorkerState.GONE


@pytest.mark.parametrize("event", WorkerEvent)
def test_a_worker_that_is_gone_cannot_change(event: WorkerEvent) -> None:
    world = World()
    worker = world.worker()
    worker.leave()
    worker.session.move(event)
    assert (worker.state, worker.session.reason, worker.session.verdict) == ("gone", "", "")


def pools_of(world: World) -> set[tuple[frozenset[str], frozenset[str]]]:
    """Commands and members of each pool."""
    pools = {command.route.pool for command in world.core.roster.commands.values() if command.route.pool}
    return {
        (
            frozenset(route.command.name for route in pool.routes),
            frozenset(member.worker_id for member in pool.members),
        )
        for pool in pools
    }


def named(*pools: tuple[str, str]) -> set[tuple[frozenset[str], frozenset[str]]]:
    return {(frozenset(commands.split()), frozenset(workers.split())) for commands, workers in pools}


def test_equal_workers_share_one_pool_whatever_the_number_of_commands() -> None:
    world = World()
    commands = [f"c{number}" for number in range(100)]
    for number in range(3):
        worker = world.worker(f"w{number}", *commands)
        assert len(worker.session.pools) == 1
    world.worker("twice", "a", "a")
    assert pools_of(world) == named((" ".join(commands), "w0 w1 w2"), ("a", "twice"))


def test_pools_split_if_sets_of_commands_overlap() -> None:
    world = World()
    first = world.worker("1", "a", "b", "c")
    assert pools_of(world) == named(("a b c", "1"))
    second = world.worker("2", "b", "c", "d")
    assert pools_of(world) == named(("a", "1"), ("b c", "1 2"), ("d", "2"))
    third = world.worker("3", "c")
    assert pools_of(world) == named(("a", "1"), ("b", "1 2"), ("c", "1 2 3"), ("d", "2"))
    fourth = world.worker("4", "a", "b", "c", "d")
    assert pools_of(world) == named(("a", "1 4"), ("b", "1 2 4"), ("c", "1 2 3 4"), ("d", "2 4"))
    first.leave()
    second.drain()
    assert pools_of(world) == named(("a", "4"), ("b", "4"), ("c", "3 4"), ("d", "4"))
    for worker in (second, third, fourth):
        worker.leave()
    assert pools_of(world) == set()
    world.check_nothing_is_left()


def test_load_counts_over_all_of_a_workers_commands() -> None:
    world = World()
    both, only_b, requester = (
        world.worker("both", "a", "b", concurrency=5),
        world.worker("only", "b"),
        world.requester(),
    )
    requester.submit("a")
    requester.submit("b")
    assert (both.holds, only_b.holds) == (["r1"], ["r2"])


DISTINCT = {"a": "least_loaded", "b": "round_robin"}
"""Patterns that give each of these commands its own pool."""


@pytest.mark.parametrize("goes", ["drain", "leave", "fall_silent"])
@pytest.mark.parametrize("command", ["a", "b"])
def test_waiting_requests_go_to_those_that_become_eligible_in_any_pool_of_a_worker(
    goes: str, command: str
) -> None:
    # Half of the workers of `command` are healthy, until `both` goes: then the suspect one is eligible.
    world = World(patterns=DISTINCT)
    both, suspect = world.worker("both", "a", "b"), world.worker("suspect", command)
    world.worker("other", "a" if command == "b" else "b")
    suspect.fall_silent()
    requester = world.requester()
    requester.submit(command)
    waiting = requester.submit(command)
    assert (both.holds, suspect.holds) == (["r1"], [])
    getattr(both, goes)()
    assert suspect.holds == [waiting]


@pytest.mark.parametrize("goes", ["drain", "leave"])
def test_requests_of_every_pool_that_loses_its_last_worker_fail(goes: str) -> None:
    world = World(patterns=DISTINCT)
    worker, requester = world.worker("w", "a", "b"), world.requester()
    requester.submit("a")
    waiting = [requester.submit("a"), requester.submit("b")]
    getattr(worker, goes)()
    assert [requester.outcome(request_id) for request_id in waiting] == ["no_available_workers"] * 2


def test_a_full_worker_that_is_split_into_another_pool_is_not_picked_there() -> None:
    world = World()
    full, requester = world.worker("full", "a", "b"), world.requester()
    requester.submit("a")
    world.worker("other", "b")
    requester.submit("b")
    requester.submit("b")
    assert full.holds == ["r1"]
    assert world.core.queue.count == 1


def join_and_leave(world: World, *commands: str) -> FakeWorker:
    worker = world.worker("w", *commands)
    worker.leave()
    return worker


def test_commands_are_kept_after_their_last_worker_has_left() -> None:
    world = World()
    join_and_leave(world, "a", "b")
    assert set(world.core.roster.commands) == {"a", "b"}


def test_the_number_of_known_commands_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 3)
    world = World()
    staying = world.worker("staying", "kept")
    join_and_leave(world, "a", "b")
    assert set(world.core.roster.commands) == {"kept", "a", "b"}, "up to the bound all are kept"
    join_and_leave(world, "c", "kept")
    assert set(world.core.roster.commands) == {"kept", "a", "b"}, (
        "beyond it those without a worker are forgotten"
    )
    requester = world.requester()
    assert requester.outcome(requester.submit("c")) == "no_available_workers"
    staying.succeed(requester.submit("kept"))
    assert requester.outcome("r2") == "success"


def test_requests_for_a_removed_command_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 0)
    world = World()
    worker, requester = world.worker("w", concurrency=2), world.requester()
    written = requester.submit()
    worker.is_stuck = True
    unwritten, waiting = requester.submit(), requester.submit()
    worker.leave()
    assert [requester.outcome(request_id) for request_id in (written, unwritten, waiting)] == [
        "worker_lost",
        "no_available_workers",
        "no_available_workers",
    ]
    assert world.core.roster.commands == {}


def test_a_draining_worker_removes_only_commands_that_it_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 0)
    world = World()
    draining, requester = world.worker("draining"), world.requester()
    held = requester.submit(target="draining")
    draining.drain()
    world.worker("other").leave()
    fresh = world.worker("fresh", concurrency=9)
    running = [requester.submit(), requester.submit(target="fresh")]
    draining.succeed(held)
    draining.leave()
    assert set(world.core.roster.commands) == {"echo"}
    assert fresh.holds == running
    assert requester.outcome(requester.submit()) is None


def test_the_bound_on_known_commands_has_a_default() -> None:
    assert directory.COMMANDS_KNOWN_COUNT_MAX == 10_000
