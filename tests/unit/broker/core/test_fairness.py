"""Clients of one core take turns, whatever their priorities, however many connections and commands they use."""

from collections import Counter
from typing import Final

import pytest
from taskferry.broker.core.queue.overload import WAIT_SHARE_MAX
from taskferry.protocol.limits import PRIORITY_MAX

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World

SLOTS_COUNT: Final = 10
SERVICE_S: Final = 0.1
FLOOD_FACTOR: Final = 10
"""What a flood sends, beside what can be done."""
CHECK_INTERVAL: Final = 2000


class Scene:
    """A worker of ten slots, each of which ends a request every 0.1 s, and a client that floods it."""

    def __init__(self, *, commands: tuple[str, ...] = ("echo",)) -> None:
        self.world = World(check_interval=CHECK_INTERVAL)
        self.worker: FakeWorker = self.world.worker("w", *commands, concurrency=SLOTS_COUNT)
        self.served: Counter[str] = Counter()
        self._began: dict[str, float] = {}

    def step(self) -> None:
        """Let time pass until another slot is free."""
        self.world.sleep(SERVICE_S / SLOTS_COUNT)
        for request_id in self.worker.holds:
            self._began.setdefault(request_id, self.world.now)
        for request_id in [
            held for held in self.worker.holds if self._began[held] <= self.world.now - SERVICE_S
        ]:
            self.served[request_id.partition(" ")[0]] += 1
            self.worker.succeed(request_id)

    def flood(self, requester: FakeRequester, priority: int, timeout_s: float, command: str = "echo") -> None:
        for _ in range(FLOOD_FACTOR):
            self.send(requester, "flood", command, priority, timeout_s)

    def send(self, requester: FakeRequester, name: str, command: str, priority: int, timeout_s: float) -> str:
        request_id = f"{name} {len(self.world.submitted)}"
        return requester.submit(command, request_id=request_id, priority=priority, timeout=timeout_s)


@pytest.mark.parametrize("timeout_s", [6.0, 30.0])
@pytest.mark.parametrize("priority", [5, 6, 9])
@pytest.mark.parametrize("is_of_one_account", [True, False])
def test_a_flood_of_any_priority_starves_no_other_client(
    timeout_s: float, priority: int, is_of_one_account: bool
) -> None:
    scene = Scene()
    account = scene.world.account("alice")
    flooder = scene.world.requester(account)
    others = [
        scene.world.requester(account if is_of_one_account else scene.world.account(f"other {number}"))
        for number in range(3)
    ]
    sent: dict[FakeRequester, str] = {}
    for number in range(1000):
        scene.flood(flooder, priority, timeout_s)
        for other in others:
            if number >= 300 and (other not in sent or other.outcome(sent[other]) is not None):
                sent[other] = scene.send(other, "other", "echo", 5, timeout_s)
        scene.step()
    outcomes = Counter(answer.outcome for other in others for answer in other.answers)
    assert outcomes.keys() == {"success"}
    assert outcomes["success"] > 40
    flooded = Counter(answer.outcome for answer in flooder.answers)
    assert flooded["overloaded"] > 0
    if timeout_s == 6.0:
        assert flooded["overloaded"] > 5 * flooded["timeout"], "others do not hide the flood"


def test_a_polite_client_does_not_hide_the_overload_of_another() -> None:
    scene = Scene()
    flooder = scene.world.requester()
    others = [scene.world.requester() for _ in range(30)]
    sent: dict[FakeRequester, str] = {}
    for _ in range(1500):
        scene.flood(flooder, 5, 6.0)
        for other in others:
            if other not in sent or other.outcome(sent[other]) is not None:
                sent[other] = scene.send(other, "other", "echo", 5, 6.0)
        scene.step()
    assert scene.served["other"] > 10 * scene.served["flood"], "theirs are most of what is served, at once"
    outcomes = Counter(answer.outcome for answer in flooder.answers)
    assert outcomes["overloaded"] > 5 * outcomes["timeout"]
    assert {answer.outcome for other in others for answer in other.answers} == {"success"}
    assert scene.world.events.notified == ["echo: overloaded"]
    assert scene.world.core.roster.commands["echo"].route.waiting.overload.is_overloaded is False, (
        "it is not the line as a whole"
    )


def test_many_small_clients_are_an_overload_together() -> None:
    scene = Scene()
    crowd = [scene.world.requester() for _ in range(300)]
    polite = scene.world.requester(scene.world.account("polite"))
    sent: dict[FakeRequester, str] = {}
    for number in range(1500):
        for _ in range(2):
            for other in crowd[2 * number % 300 : 2 * number % 300 + 2]:
                scene.send(other, "crowd", "echo", 5, 6.0)
        if polite not in sent or polite.outcome(sent[polite]) is not None:
            sent[polite] = scene.send(polite, "polite", "echo", 5, 6.0)
        scene.step()
    outcomes = Counter(answer.outcome for other in crowd for answer in other.answers)
    assert outcomes["overloaded"] > 5 * outcomes["timeout"]
    assert {answer.outcome for answer in polite.answers} == {"success"}


def test_the_low_class_of_a_client_is_not_starved_by_its_own_flood_of_a_higher_one() -> None:
    scene = Scene()
    client = scene.world.requester()
    low: list[str] = []
    for number in range(3000):
        scene.flood(client, PRIORITY_MAX, 6.0)
        if number % 100 == 0:
            low.append(scene.send(client, "low", "echo", 6, 6.0))
        scene.step()
    outcomes = Counter(client.outcome(request_id) for request_id in low)
    assert outcomes["success"] >= len(low) / 4
    assert scene.served["flood"] > 20 * scene.served["low"], "priorities among one's own requests hold"


def test_once_a_client_overloads_itself_its_classes_are_ranked_by_what_would_be_served() -> None:
    world = World()
    worker, client = world.worker(), world.requester()
    client.submit(request_id="running", timeout=60.0)
    for number in range(30):
        client.submit(request_id=f"low {number}", priority=0, timeout=60.0)
    world.sleep(10.0)
    for number in range(10):
        client.submit(request_id=f"high {number}", priority=PRIORITY_MAX, timeout=60.0)
    served: list[str] = []
    while not world.events.notified:
        worker.succeed(worker.holds[0])
        served.append(worker.holds[0])
        client.submit(priority=0, timeout=60.0)
        world.sleep(0.2)
    assert served == [f"low {number}" for number in range(len(served))], "the oldest of all"
    worker.succeed(worker.holds[0])
    assert worker.holds == ["high 9"], "the newest of the highest class"


def test_a_client_gets_no_more_turns_by_opening_more_connections() -> None:
    world = World()
    worker = world.worker()
    crowd, single = world.account("crowd"), world.requester(world.account("single"))
    connections = [world.requester(crowd) for _ in range(9)]
    connections[0].submit(request_id="running")
    for number in range(10):
        for connection in connections:
            connection.submit(request_id=f"crowd {number} {id(connection)}")
        single.submit(request_id=f"single {number}")
    order = []
    while worker.holds:
        order.append(worker.holds[0].partition(" ")[0])
        worker.succeed(worker.holds[0])
    assert order[1:21] == ["crowd", "single"] * 10


def test_a_client_gets_no_more_turns_of_a_worker_by_using_more_commands() -> None:
    world = World()
    commands = tuple(f"c{number}" for number in range(8))
    worker = world.worker("w", *commands)
    many, single = world.requester(world.account("many")), world.requester(world.account("single"))
    neighbour = world.requester(world.account("many"))
    many.submit("c0", request_id="running")
    for number in range(10):
        for command in commands[1:]:
            many.submit(command, request_id=f"many {number} {command}")
        neighbour.submit("c3", request_id=f"neighbour {number}")
        single.submit("c0", request_id=f"single {number}")
    order = []
    while worker.holds:
        order.append(worker.holds[0].partition(" ")[0])
        world.sleep(0.01)
        worker.succeed(worker.holds[0])
    early = Counter(order[1:31])
    assert early["single"] >= 9
    assert early["neighbour"] >= 5


def test_connections_of_one_account_take_turns_over_all_commands_of_a_worker() -> None:
    world = World()
    worker, account = world.worker("w", "a", "b"), world.account("alice")
    first, second, third = (world.requester(account) for _ in range(3))
    first.submit("a", request_id="running")
    for requester, command, name, pause_s in (
        (first, "b", "first", 0.05), (second, "a", "second", 0.08), (third, "b", "third", 0.17),
        (first, "b", "again", 0.05),
    ):  # fmt: skip
        world.sleep(pause_s)
        requester.submit(command, request_id=name)
    order = []
    while worker.holds:
        order.append(worker.holds[0])
        worker.succeed(worker.holds[0])
    assert order == ["running", "first", "second", "again", "third"]


def test_what_one_client_has_waiting_for_several_commands_is_served_in_its_order() -> None:
    world = World()
    worker, requester = world.worker("w", "a", "b", "c"), world.requester()
    requester.submit("a", request_id="running")
    sent = []
    for number in range(30):
        world.sleep(0.01)
        sent.append(requester.submit("abc"[number * 7 % 3], priority=5))
    order = []
    while worker.holds:
        order.append(worker.holds[0])
        world.sleep(0.02)
        worker.succeed(worker.holds[0])
    assert order[1:] == sent


def test_what_ended_without_a_turn_leaves_the_turns_of_others() -> None:
    world = World()
    worker = world.worker()
    first, second = world.requester(), world.requester(world.account("other"))
    first.submit(request_id="running")
    for requester, name in ((first, "a"), (second, "b")):
        for number in range(4):
            requester.submit(request_id=f"{name}{number}", priority=9 - number, timeout=5.0)
    first.cancel("a0")
    second.cancel("b3")
    assert worker.holds == ["running"]
    order = []
    while worker.holds:
        order.append(worker.holds[0])
        worker.succeed(worker.holds[0])
    assert order == ["running", "b0", "a1", "b1", "a2", "b2", "a3"]


def test_a_request_that_waits_again_keeps_its_age() -> None:
    world = World()
    lost = world.worker("lost")
    again, other = world.requester(world.account("again")), world.requester(world.account("other"))
    again.submit(request_id="again", idempotent=True)
    world.sleep(2.0)
    busy = world.worker("busy")
    other.submit(request_id="running")
    world.sleep(2.0)
    other.submit(request_id="later")
    lost.leave()
    busy.succeed("running")
    assert busy.holds == ["again"]


def test_wait_share_max_leaves_most_of_the_timeout() -> None:
    assert WAIT_SHARE_MAX == 0.25
