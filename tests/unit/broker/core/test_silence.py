"""A worker with a silent link gets no more requests, keeps its assignments, and is eligible again once it is heard."""

from taskferry.broker.core.fleet.worker import WorkerState

from tests.unit.broker.core.world import World


def test_a_silent_worker_gets_nothing_until_it_is_heard_again() -> None:
    world = World("round_robin")
    worker, other, requester = world.worker("w", concurrency=2), world.worker("other"), world.requester()
    held = requester.submit()
    worker.fall_silent()
    assert worker.session.state is WorkerState.SUSPECT
    assert worker.session.reason == "its link is silent"
    second, third = requester.submit(), requester.submit()
    assert (worker.holds, other.holds) == ([held], [second])
    worker.speak_again()
    assert worker.holds == [held, third], "the waiting request is assigned at once"
    assert world.events.notified == ["w: healthy -> suspect", "w: suspect -> healthy"]


def test_its_assignments_can_still_be_answered() -> None:
    world = World()
    worker, _, requester = world.worker("w"), world.worker("other"), world.requester()
    held = requester.submit(target="w")
    worker.fall_silent()
    worker.speak_again()
    worker.succeed(held)
    assert requester.outcome(held) == "success"


def test_a_repeated_report_is_notified_once() -> None:
    world = World()
    worker, _ = world.worker("w"), world.worker("other")
    worker.speak_again()
    for _ in range(2):
        worker.fall_silent()
    for _ in range(2):
        worker.speak_again()
    assert world.events.notified == ["w: healthy -> suspect", "w: suspect -> healthy"]


def test_a_draining_worker_that_falls_silent_stays_draining() -> None:
    world = World()
    worker = world.worker("w")
    worker.drain()
    worker.fall_silent()
    worker.speak_again()
    assert worker.state == "draining"


def test_a_suspect_worker_may_drain_or_leave() -> None:
    world = World()
    first, second = world.worker("v"), world.worker("w")
    world.worker("x")
    for worker in (first, second):
        worker.fall_silent()
    first.drain()
    second.leave()
    assert (first.state, second.state) == ("draining", "gone")


def test_an_event_that_does_not_change_the_state_keeps_a_workers_turn() -> None:
    world = World("round_robin")
    first, second, requester = (
        world.worker("v", concurrency=9),
        world.worker("w", concurrency=9),
        world.requester(),
    )
    for _ in range(4):
        first.speak_again()
        requester.submit()
    assert len(first.holds) == len(second.holds) == 2


def test_suspects_do_not_count_as_ejected() -> None:
    world = World()
    workers = [world.worker(f"w{number}") for number in range(4)]
    workers[0].fall_silent()
    world.eject(workers[1])
    assert [worker.state for worker in workers] == ["suspect", "ejected", "healthy", "healthy"]
