"""Requests with a target, by worker_id or labels: which worker gets them, where they wait, and how many targets there
may be at once."""

from typing import Any

import pytest
from taskferry.broker.core.delivery import crowding
from taskferry.broker.core.fleet import directory, roster
from taskferry.broker.core.fleet.route import target_key
from taskferry.protocol.errors import NOT_DELIVERED
from taskferry.protocol.limits import TARGET_VALUES_COUNT_MAX

from tests.unit.broker.core.world import World


@pytest.fixture
def few_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "TARGETS_COUNT_MAX", 2)


def labelled(world: World, worker_id: str, *commands: str, concurrency: int = 1, **labels: str) -> Any:
    return world.worker(worker_id, *commands, concurrency=concurrency, labels=labels)


def test_a_worker_targeted_by_id_gets_the_request_even_if_others_are_free() -> None:
    world = World()
    busy, idle = world.worker("busy", concurrency=3), world.worker("idle", concurrency=3)
    requester = world.requester()
    request_ids = [requester.submit(target="busy") for _ in range(4)]
    assert busy.holds == request_ids[:3]
    assert idle.holds == []
    assert world.core.queue.count == 1
    busy.succeed(request_ids[0])
    assert busy.holds == request_ids[1:]
    assert requester.answer(request_ids[0]).worker_id == "busy"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"gpu": "yes"}, "v w"),
        ({"gpu": "yes", "zone": "b"}, "w"),
        ({"zone": ["a", "b"]}, "v w"),
        ({"zone": ["b", "c"]}, "w x"),
        ({"gpu": ["yes"], "zone": ["a", "z"]}, "v"),
    ],
)
def test_labels_match_workers_that_have_every_key_with_one_of_its_values(
    target: dict[str, str | list[str]], expected: str
) -> None:
    world = World()
    workers = [
        labelled(world, "v", gpu="yes", zone="a"),
        labelled(world, "w", gpu="yes", zone="b"),
        labelled(world, "x", gpu="no", zone="c"),
        labelled(world, "y"),
    ]
    requester = world.requester()
    for _ in range(5):
        requester.submit(target=target)
    assert " ".join(worker.worker_id for worker in workers if worker.holds) == expected
    assert world.core.queue.count == 5 - len(expected.split())


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("nobody", "no worker 'nobody' is connected; start it, or name another one"),
        ("other", "other does not serve echo"),
        ({"gpu": "yes"}, "no worker that serves echo has the label gpu=yes; start one that has"),
        (
            {"gpu": "no", "zone": ["a", "b"]},
            "no worker that serves echo has the labels gpu=no zone=a|b; start one that has",
        ),
    ],
)
def test_a_target_that_no_worker_matches_fails_at_once_and_is_named(
    target: str | dict[str, str | list[str]], why: str
) -> None:
    world = World()
    labelled(world, "w", gpu="no", zone="c")
    world.worker("other", "other-command", labels={"gpu": "yes"})
    requester = world.requester()
    answer = requester.answer(requester.submit(target=target))
    assert (answer.outcome, answer.text) == (
        "no_available_workers",
        f"No available workers: {why}",
    )
    unserved = requester.answer(requester.submit("unheard-of", target=target))
    assert unserved.text == "No available workers: no worker serves 'unheard-of'; start one that does"


def test_a_label_must_have_the_whole_value() -> None:
    world = World()
    labelled(world, "w", zone="a")
    requester = world.requester()
    assert requester.outcome(requester.submit(target={"zone": "ab"})) == "no_available_workers"


@pytest.mark.parametrize("target", ["w", {"gpu": "yes"}])
def test_a_target_whose_command_has_lost_its_last_worker_fails(
    target: str | dict[str, str | list[str]],
) -> None:
    world = World()
    world.worker("v", "a").leave()
    labelled(world, "w", "b", gpu="yes")
    requester = world.requester()
    assert requester.outcome(requester.submit("a", target=target)) == "no_available_workers"


def test_a_worker_joins_all_targets_that_it_matches() -> None:
    world = World()
    world.worker("plain")
    requester = world.requester()
    targets = ("w", {"gpu": "yes"}, {"zone": ["a", "b"]})
    for target in targets:
        assert requester.outcome(requester.submit(target=target)) == "no_available_workers"
    worker = labelled(world, "w", gpu="yes", zone="a", concurrency=9)
    sent = [requester.submit(target=target) for target in targets]
    assert worker.holds == sent


def test_a_joining_worker_takes_requests_that_wait_for_its_labels() -> None:
    world = World()
    labelled(world, "v", gpu="yes")
    requester = world.requester()
    for _ in range(3):
        requester.submit(target={"gpu": "yes"})
    assert labelled(world, "x", gpu="no", concurrency=5).holds == []
    assert labelled(world, "w", "echo", "more", gpu="yes", concurrency=5).holds == ["r2", "r3"]


def test_a_target_without_workers_works_again_once_one_joins() -> None:
    world = World()
    labelled(world, "v", gpu="yes").leave()
    world.worker("plain")
    requester = world.requester()
    assert requester.outcome(requester.submit(target={"gpu": "yes"})) == "no_available_workers"
    worker = labelled(world, "w", gpu="yes")
    assert worker.holds == []
    request_id = requester.submit(target={"gpu": "yes"})
    assert worker.holds == [request_id]


def test_requests_that_wait_for_one_worker_do_not_block_others() -> None:
    world = World()
    busy, other = world.worker("busy"), world.worker("other")
    requester = world.requester()
    running = [requester.submit(target="busy"), requester.submit(target="other")]
    for_busy, for_any = requester.submit(target="busy"), requester.submit()
    other.succeed(running[1])
    assert other.holds == [for_any]
    busy.succeed(running[0])
    assert busy.holds == [for_busy]


def test_a_free_slot_takes_the_oldest_request_of_all_its_routes() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    requester.submit()
    for target in (None, "w", None, "w"):
        world.sleep(0.01)
        requester.submit(target=target)
    served = []
    while worker.holds:
        served += worker.holds
        worker.succeed(worker.holds[0])
    assert served == ["r1", "r2", "r3", "r4", "r5"]


@pytest.mark.parametrize(
    ("goes", "why"), [("leave", "start one that has"), ("drain", "w is stopping: start another one")]
)
def test_requests_fail_if_the_last_worker_of_their_target_leaves(goes: str, why: str) -> None:
    world = World()
    worker, plain = labelled(world, "w", gpu="yes"), world.worker("plain")
    requester = world.requester()
    requester.submit(target={"gpu": "yes"})
    requester.submit(target="plain")
    waiting, for_any = requester.submit(target={"gpu": "yes"}), requester.submit()
    getattr(worker, goes)()
    answer = requester.answer(waiting)
    assert (answer.outcome, answer.text) == (
        "no_available_workers",
        f"No available workers: no worker that serves echo has the label gpu=yes; {why}",
    )
    assert requester.outcome(for_any) is None
    plain.succeed("r2")
    assert plain.holds == [for_any]


def test_equivalent_targets_share_a_line() -> None:
    world = World()
    labelled(world, "w", gpu="yes", zone="a")
    requester = world.requester()
    for target in ({"gpu": "yes", "zone": ["a", "b"]}, {"zone": ["b", "a", "a"], "gpu": ["yes"]}):
        requester.submit(target=target)
    assert len(world.core.roster.commands["echo"].targeted) == 1
    assert target_key({"a": "b"}) != target_key({"a": "c"}) != target_key("a")


def test_a_retry_goes_only_to_workers_that_match_the_target() -> None:
    world = World("round_robin")
    first, second = labelled(world, "v", gpu="yes"), labelled(world, "w", gpu="yes")
    world.worker("plain", concurrency=9)
    requester = world.requester()
    request_id = requester.submit(target={"gpu": "yes"}, idempotent=True)
    first.leave()
    assert second.holds == [request_id]
    second.leave()
    assert requester.outcome(request_id) == "worker_lost"


@pytest.mark.usefixtures("few_targets")
def test_the_least_recently_used_target_makes_room_for_a_new_one() -> None:
    world = World()
    for worker_id in ("u", "v", "w"):
        world.worker(worker_id, concurrency=9)
    requester = world.requester()
    targeted = world.core.roster.commands["echo"].targeted
    for target, known in (("u", "u"), ("v", "u v"), ("u", "u v"), ("w", "u w"), ("v", "v w")):
        requester.submit(target=target)
        assert " ".join(sorted(map(str, targeted))) == known
    for worker in list(world.core.roster.workers.values()):
        assert len(worker.memberships()) <= 2


@pytest.mark.usefixtures("few_targets")
def test_a_target_with_waiting_requests_is_not_forgotten() -> None:
    world = World()
    workers = {worker_id: world.worker(worker_id) for worker_id in ("u", "v", "w")}
    requester = world.requester()
    for target in ("u", "u", "v", "v", None):
        requester.submit(target=target)
    refused = requester.answer(requester.submit(target="w"))
    assert refused.outcome == "overloaded"
    assert refused.text == "requests with 2 different targets wait (TARGETS_COUNT_MAX)"
    assert refused.failure is not None
    assert refused.failure.retry_after_s == crowding.RETRY_AFTER_S
    assert refused.failure.delivery == NOT_DELIVERED
    workers["u"].succeed("r1")
    assert workers["u"].holds == ["r2"], "no request waits for u any more"
    assert requester.outcome(requester.submit(target="w")) is None


@pytest.mark.usefixtures("few_targets")
def test_targets_that_no_worker_matches_are_forgotten_too() -> None:
    world = World()
    world.worker("w", concurrency=9)
    requester = world.requester()
    for target in ("nobody", "no one", "none", "w"):
        requester.submit(target=target)
    assert len(world.core.roster.commands["echo"].targeted) == 2
    assert world.outcomes() == {"no_available_workers": 3}


def test_the_bound_on_targets_has_a_default() -> None:
    assert roster.TARGETS_COUNT_MAX == 100


@pytest.mark.usefixtures("few_targets")
def test_requests_that_run_for_a_forgotten_target_end_as_usual() -> None:
    world = World()
    for worker_id in ("u", "v", "w"):
        world.worker(worker_id, concurrency=9)
    worker, requester = labelled(world, "x", gpu="yes", concurrency=9), world.requester()
    answered, cancelled, late = (requester.submit(target={"gpu": "yes"}, timeout=5.0) for _ in range(3))
    hedged = requester.submit(target={"gpu": "yes"}, timeout=5.0, hedge=0.1, idempotent=True)
    for target in ("u", "v", "w"):
        requester.submit(target=target)
    worker.succeed(answered)
    requester.cancel(cancelled)
    world.sleep(5.1)
    outcomes = [requester.outcome(request_id) for request_id in (answered, cancelled, late, hedged)]
    assert outcomes == ["success", "cancelled", "timeout", "timeout"]


@pytest.mark.usefixtures("few_targets")
@pytest.mark.parametrize("written", [True, False])
def test_a_lost_request_finds_its_forgotten_target_again(written: bool) -> None:
    world = World("round_robin")
    first = labelled(world, "v", gpu="yes", concurrency=2)
    second = labelled(world, "w", gpu="yes")
    world.worker("plain", concurrency=9)
    requester = world.requester()
    first.is_stuck = not written
    lost, running, waiting = (requester.submit(target={"gpu": "yes"}, idempotent=True) for _ in range(3))
    assert (first.holds, second.holds) == ([lost, waiting], [running])
    for target in ("plain", {"gpu": ["yes", "no"]}):
        requester.submit(target=target)
    first.leave()
    while second.holds:
        second.succeed(second.holds[0])
    assert requester.outcome(lost) == requester.outcome(waiting) == "success"


@pytest.mark.usefixtures("few_targets")
@pytest.mark.parametrize(
    ("written", "outcome", "delivery"),
    [(True, "worker_lost", "may_have_run"), (False, "overloaded", "not_delivered")],
)
def test_a_lost_request_ends_if_there_is_no_room_for_its_forgotten_target(
    written: bool, outcome: str, delivery: str
) -> None:
    world = World("round_robin")
    lost = labelled(world, "lost", gpu="yes")
    lost.is_stuck = not written
    for worker_id in ("u", "v"):
        labelled(world, worker_id, gpu="yes")
    requester = world.requester()
    request_id = requester.submit(target={"gpu": "yes"}, idempotent=True)
    assert lost.holds == [request_id]
    for target in ("u", "v", "u", "v"):
        requester.submit(target=target)
    lost.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == (outcome, "lost")
    assert answer.failure is not None
    assert answer.failure.delivery == delivery


def test_a_request_lost_with_the_last_worker_of_a_removed_command_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory, "COMMANDS_KNOWN_COUNT_MAX", 0)
    monkeypatch.setattr(roster, "TARGETS_COUNT_MAX", 1)
    world = World()
    worker, requester = world.worker("w", concurrency=3), world.requester()
    written = requester.submit(target="w")
    worker.is_stuck = True
    unwritten = requester.submit(target="w")
    worker.leave()
    assert requester.outcome(written) == "worker_lost"
    assert requester.outcome(unwritten) == "no_available_workers"
    assert world.core.roster.commands == {}
    again = world.worker("w")
    request_id = requester.submit(target="w")
    assert again.holds == [request_id], "its targets were removed with it, so there is room"


def test_a_worker_of_many_commands_and_targets_is_in_all_their_pools() -> None:
    world = World()
    first = labelled(world, "1", "a", "b", gpu="yes", concurrency=9)
    requester = world.requester()
    for command in ("a", "b"):
        requester.submit(command, target={"gpu": "yes"})
        requester.submit(command, target="1")
    second = labelled(world, "2", "b", "c", gpu="yes", concurrency=9)
    for _ in range(4):
        requester.submit("b", target={"gpu": "yes"})
    assert len(second.holds) == 4
    first.leave()
    assert requester.outcome(requester.submit("a", target={"gpu": "yes"})) == "no_available_workers"
    second.leave()
    requester.leave()
    world.check_nothing_is_left()


@pytest.mark.usefixtures("few_targets")
@pytest.mark.parametrize("target", ["w", {"gpu": "yes"}, {"gpu": ["no", "yes"]}])
def test_while_others_wait_for_all_targets_whatever_can_be_served_is_served(
    target: str | dict[str, str | list[str]],
) -> None:
    world = World()
    for worker_id in ("u", "v"):
        world.worker(worker_id)
    crowd, other = world.requester(), world.requester()
    for name in ("u", "u", "v", "v"):
        crowd.submit(target=name)
    idle = labelled(world, "w", gpu="yes", concurrency=2)
    labelled(world, "x", gpu="other")
    request_ids = [other.submit(target=target) for _ in range(2)]
    assert idle.holds == request_ids
    assert other.answer(other.submit(target={"gpu": "never"})).outcome == "no_available_workers"
    assert other.answer(other.submit(target="nobody")).outcome == "no_available_workers"
    idle.succeed(request_ids[0])
    assert other.outcome(request_ids[0]) == "success"


@pytest.mark.usefixtures("few_targets")
def test_of_the_idle_workers_that_match_the_least_loaded_gets_a_request_without_a_target_of_its_own() -> None:
    world = World()
    for worker_id in ("u", "v"):
        world.worker(worker_id)
    crowd, other = world.requester(), world.requester()
    for name in ("u", "u", "v", "v"):
        crowd.submit(target=name)
    small = labelled(world, "small", gpu="yes", concurrency=2)
    large = labelled(world, "large", gpu="yes", concurrency=4)
    for _ in range(6):
        other.submit(target={"gpu": "yes"})
    assert (len(small.holds), len(large.holds)) == (2, 4)
    draining = labelled(world, "draining", gpu="yes")
    draining.drain()
    assert other.outcome(other.submit(target={"gpu": "yes"})) is None
    assert draining.holds == []


@pytest.mark.usefixtures("few_targets")
@pytest.mark.parametrize("is_of_one_account", [True, False])
def test_who_waits_for_most_targets_gives_one_up_for_another_client(
    monkeypatch: pytest.MonkeyPatch, is_of_one_account: bool
) -> None:
    monkeypatch.setattr(roster, "TARGETS_COUNT_MAX", 4)
    world = World()
    workers = [world.worker(name) for name in ("u", "v", "w", "x", "y")]
    account = world.account("alice")
    crowd = world.requester(account)
    other = world.requester(account if is_of_one_account else world.account("bob"))
    for worker in workers:
        crowd.submit(target=worker.worker_id)
    waiting = {name: crowd.submit(target=name) for name in ("u", "v", "w", "x")}
    more = crowd.submit(target="w")
    refused = crowd.answer(crowd.submit(target="y"))
    assert (refused.outcome, refused.text) == (
        "overloaded", "requests with 4 different targets wait (TARGETS_COUNT_MAX)",
    )  # fmt: skip
    mine = other.submit(target="y")
    assert other.outcome(mine) is None
    given_up = [name for name, request_id in waiting.items() if crowd.outcome(request_id) is not None]
    assert given_up == ["u"], "one of those for which fewest wait"
    answer = crowd.answer(waiting["u"])
    whose = "of alice this connection" if is_of_one_account else "alice"
    assert answer.text == (
        f"requests with 4 different targets wait (TARGETS_COUNT_MAX), and {whose} waits for most of them"
    )
    assert (answer.outcome, answer.failure and answer.failure.retry_after_s) == ("overloaded", 1.0)
    assert other.outcome(other.submit(target="u")) is None, "the crowd waits for three, and it for one"
    assert other.outcome(other.submit(target="v")) == "overloaded", "now for two each"
    assert crowd.outcome(more) is None
    workers[-1].succeed(workers[-1].holds[0])
    assert workers[-1].holds == [mine]


@pytest.mark.usefixtures("few_targets")
def test_a_target_for_which_two_accounts_wait_is_given_up_for_no_third() -> None:
    world = World()
    for name in ("u", "v", "w"):
        world.worker(name)
    crowd, neighbour, third = (world.requester(world.account(name)) for name in ("alice", "bob", "carol"))
    for target in ("u", "v", "w", "u", "v"):
        crowd.submit(target=target)
    for target in ("u", "v"):
        neighbour.submit(target=target)
    assert third.outcome(third.submit(target="w")) == "overloaded"
    assert crowd.answers == neighbour.answers == []


@pytest.mark.parametrize(
    ("count", "outcome"), [(TARGET_VALUES_COUNT_MAX, None), (TARGET_VALUES_COUNT_MAX + 1, "bad_request")]
)
def test_the_values_of_a_target_are_bounded_over_all_of_its_labels(count: int, outcome: str | None) -> None:
    world = World()
    labelled(world, "w", a="0", b="yes", concurrency=9)
    requester = world.requester()
    values = [str(number) for number in range(count - 1)]
    answer = requester.submit(target={"a": values, "b": "yes"})
    assert requester.outcome(answer) == outcome
    if outcome:
        text = "target: its labels have over 64 values in all (TARGET_VALUES_COUNT_MAX)"
        assert requester.answer(answer).text == text
        assert world.core.roster.commands["echo"].targeted == {}
    attempt = requester.attempt(target={"a": values, "b": "yes"})
    assert requester.outcome(attempt) is None, "it was accepted when it was submitted"
