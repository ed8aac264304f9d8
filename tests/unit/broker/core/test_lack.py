"""Why no worker can take a call: what the failure names, what that may cost, and what it keeps to itself."""

from typing import Any

from taskferry.broker.core.fleet.lack import (
    COMPARED_COUNT_MAX,
    NAMES_COUNT_MAX,
    SEARCH_INTERVAL_S,
    WORKERS_COUNT_MAX,
)
from taskferry.protocol.errors import NoAvailableWorkers
from taskferry.protocol.limits import COMMANDS_COUNT_MAX, TEXT_LENGTH_MAX

from tests.each_case import each_case
from tests.unit.broker.core.world import World

KNOWN = ("echo", "get_time", "resize-image", "ab")


def why(world: World, command: str = "echo", **options: Any) -> str:
    """What a request of another requester fails with, after the first words, which stay as they are."""
    world.sleep(SEARCH_INTERVAL_S)
    requester = world.requester()
    answer = requester.answer(requester.submit(command, **options))
    first, _, rest = answer.text.partition(": ")
    assert (answer.outcome, first) == (NoAvailableWorkers.code, NoAvailableWorkers.message)
    return rest


@each_case(
    ("command", "meant"),
    [
        ("ehco", "echo"),
        ("Echo", "echo"),
        ("ecko", "echo"),
        ("ech", "echo"),
        ("eecho", "echo"),
        ("echoes", "echo"),
        ("gettime", "get_time"),
        ("get-time", "get_time"),
        ("resize_image", "resize-image"),
        ("reszie-image", "resize-image"),
        ("esize-image", "resize-image"),
    ],
)
def test_a_name_that_differs_in_one_place_is_named(command: str, meant: str) -> None:
    world = World()
    world.worker("w", *KNOWN)
    assert why(world, command) == f"no worker serves '{command}'; did you mean {meant}?"


@each_case("command", ["x", "a", "abc", "ekko!", "time", "image-resize", "e", "\x1b[2J"])
def test_any_other_name_is_not_guessed_at(command: str) -> None:
    world = World()
    world.worker("w", "echo", "get_time", "resize-image")
    assert why(world, command) == f"no worker serves {command!r}; start one that does"


def test_the_nearest_of_several_is_named() -> None:
    world = World()
    world.worker("w", "echo12", "echo1", "echo123")
    assert why(world, "echo") == "no worker serves 'echo'; did you mean echo1?"


def test_what_is_known_and_served_no_more_says_so() -> None:
    world = World()
    world.worker("w", "echo").leave()
    assert why(world) == "no worker serves echo any more; start one that does"


def test_a_drained_worker_is_named() -> None:
    world = World()
    worker = world.worker("node-2", labels={"gpu": "yes"})
    world.worker("other", "other")
    worker.drain_by_operator()
    drained = "node-2 is drained: undo that, or start another one"
    assert why(world) == f"no worker serves echo any more; {drained}"
    assert why(world, target="node-2") == drained
    assert why(world, target={"gpu": "yes"}) == f"no worker that serves echo has the label gpu=yes; {drained}"
    assert why(world, target={"gpu": "no"}) == (
        "no worker that serves echo has the label gpu=no; start one that has"
    )


def test_a_worker_that_stops_is_named() -> None:
    world = World()
    world.worker("node-2").drain()
    assert why(world, target="node-2") == "node-2 is stopping: start another one"
    assert why(world) == "no worker serves echo any more; node-2 is stopping: start another one"


def test_all_that_waited_get_the_same_reason() -> None:
    world = World()
    worker, requester = world.worker("node-2"), world.requester()
    requester.submit()
    waiting = [requester.submit() for _ in range(3)]
    worker.drain_by_operator()
    texts = {requester.answer(request_id).text for request_id in waiting}
    assert texts == {
        "No available workers: no worker serves echo any more; node-2 is drained: undo that, or start another one"
    }


def test_a_command_that_the_requester_may_not_call_is_not_named() -> None:
    world = World()
    world.worker("w", "admin-user1", "admin-user2")
    requester = world.requester()
    requester.session.may_call = lambda command: command == "admin-user2"
    answer = requester.answer(requester.submit("admin-user"))
    assert answer.text.endswith("no worker serves 'admin-user'; did you mean admin-user2?")
    world.sleep(SEARCH_INTERVAL_S)
    requester.session.may_call = lambda _: False
    answer = requester.answer(requester.submit("admin-user"))
    assert answer.text.endswith("no worker serves 'admin-user'; start one that does")


def test_one_search_is_made_in_its_interval_for_all_requesters() -> None:
    world = World()
    world.worker("w", "echo")
    world.worker("node-2", "other").drain_by_operator()
    assert "did you mean echo?" in why(world, "ecko")
    requester = world.requester()
    for command, text in (("ecko", "start one that does"), ("other", "start one that does")):
        assert requester.answer(requester.submit(command)).text.endswith(text)
    world.sleep(SEARCH_INTERVAL_S * 0.99)
    assert requester.answer(requester.submit("ecko")).text.endswith("start one that does")
    world.sleep(SEARCH_INTERVAL_S * 0.02)
    assert requester.answer(requester.submit("ecko")).text.endswith("did you mean echo?")


def test_only_so_many_names_are_looked_at() -> None:
    for count, is_found in ((NAMES_COUNT_MAX - 1, True), (NAMES_COUNT_MAX, False)):
        world = World()
        commands = [*(f"{number:04}-other" for number in range(count)), "resize"]
        for first in range(0, len(commands), COMMANDS_COUNT_MAX):
            world.worker(f"w{first}", *commands[first : first + COMMANDS_COUNT_MAX])
        assert ("did you mean resize?" in why(world, "resise")) is is_found


def test_only_so_many_are_compared_letter_by_letter() -> None:
    for count, is_found in ((COMPARED_COUNT_MAX - 1, True), (COMPARED_COUNT_MAX, False)):
        world = World()
        world.worker("w", *(f"resize-{number:03}-other" for number in range(count)), "resize-image")
        assert ("did you mean" in why(world, "resize-imaeg")) is is_found


def test_only_so_many_workers_are_looked_at_for_a_drained_one() -> None:
    for count, is_found in ((WORKERS_COUNT_MAX - 1, True), (WORKERS_COUNT_MAX, False)):
        world = World()
        for number in range(count):
            world.worker(f"w{number}", "other")
        world.worker("node-2").drain_by_operator()
        assert ("node-2 is drained" in why(world)) is is_found


def test_a_long_target_is_cut() -> None:
    world = World()
    world.worker("w")
    target = {"zone": [f"{number:0128}" for number in range(32)]}
    requester = world.requester()
    answer = requester.answer(requester.submit(target=target))
    assert len(answer.text) == TEXT_LENGTH_MAX
