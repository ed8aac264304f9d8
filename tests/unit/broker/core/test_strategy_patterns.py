"""A command's name decides its strategy; commands with different strategies share no pool."""

from tests.unit.broker.core.world import WatchedStrategy, World


def strategies_of(world: World) -> dict[str, str]:
    names = {}
    for name, command in world.core.roster.commands.items():
        assert command.route.pool is not None
        strategy = command.route.pool.strategy
        assert isinstance(strategy, WatchedStrategy)
        names[name] = type(strategy._strategy).__name__
    return names


PATTERNS = {"mail.*": "round_robin", "*.big": "consistent_hash", "mail.big": "random"}


def test_the_first_matching_pattern_decides_or_else_the_default() -> None:
    world = World("power_of_two", patterns=PATTERNS)
    world.worker("w", "mail.send", "mail.big", "picture.big", "echo")
    assert strategies_of(world) == {
        "mail.send": "RoundRobin",
        "mail.big": "RoundRobin",
        "picture.big": "ConsistentHash",
        "echo": "PowerOfTwo",
    }


def test_commands_share_a_pool_only_with_the_same_strategy() -> None:
    world = World(patterns=PATTERNS)
    worker = world.worker("w", "mail.send", "mail.read", "picture.big", "echo", "ping")
    world.worker("v", "mail.send", "mail.read", "picture.big", "echo", "ping")
    assert len(worker.session.pools) == 3
    commands = world.core.roster.commands
    assert commands["mail.send"].route.pool is commands["mail.read"].route.pool
    assert commands["echo"].route.pool is commands["ping"].route.pool


def test_a_split_pool_keeps_its_strategy() -> None:
    world = World(patterns=PATTERNS)
    world.worker("w", "mail.send", "mail.read")
    world.worker("v", "mail.read")
    assert set(strategies_of(world).values()) == {"RoundRobin"}


def test_a_target_uses_the_strategy_of_its_command() -> None:
    world = World(patterns={"echo": "round_robin"})
    workers = [world.worker(f"w{number}", concurrency=9, labels={"gpu": "yes"}) for number in range(2)]
    world.worker("plain", concurrency=9)
    requester = world.requester()
    for _ in range(2):
        request_id = requester.submit(target={"gpu": "yes"})
        (holder,) = (worker for worker in workers if request_id in worker.holds)
        workers.remove(holder)
    assert workers == [], "they take turns"


def test_equal_keys_go_to_one_worker_by_consistent_hash() -> None:
    world = World("consistent_hash")
    workers = [world.worker(f"w{number}", concurrency=50) for number in range(4)]
    requester = world.requester()
    for _ in range(20):
        world.sleep(0.01)
        request_id = requester.submit(affinity="user-7")
        (holder,) = (worker for worker in workers if request_id in worker.holds)
        holder.succeed(request_id)
    assert len([worker for worker in workers if worker.delivered]) == 1
