"""Jobs at random: submitters, workers and the disk do what they like, and all is killed between any two steps."""

import random
from typing import Final

from tests.unit.broker.jobs.walk import CODES, COMMANDS, Walk

KINDS: Final = ("plain", "plain", "named", "again", "once", "brief", "patient", "late", "followed", "aimed")
OUTCOMES: Final = ("success",) * 6 + ("progress", "never", "soon", *CODES)
STEPS: Final = {
    "submit": 30,
    "work": 30,
    "journal": 40,
    "worker": 12,
    "ask": 5,
    "sleep": 12,
    "kill": 1,
    "stop": 1,
}


def walk(seed: int, steps_count: int) -> Walk:
    """Take so many steps, then let everything come to its end. Raises AssertionError if the books do not agree."""
    chance = random.Random(seed)
    world = Walk()
    for _ in range(steps_count):
        step = chance.choices(list(STEPS), list(STEPS.values()))[0]
        match step:
            case "submit":
                delay = chance.choice((0.0, 0.1, 5.0))
                size = chance.choice((1, 10, 1000))
                world.step_submit(
                    chance.choice(COMMANDS), chance.randrange(10), chance.choice(KINDS), delay, size
                )
            case "work":
                world.step_work(chance.choice(("w1", "w2")), chance.randrange(100), chance.choice(OUTCOMES))
            case "journal":
                kind = chance.choices(("work", "answer", "all", "full"), (10, 10, 3, 0.2))[0]
                world.step_journal(kind)
            case "worker":
                kinds = ("connect", "connect", "connect", "reconnect", "lose", "kill", "leave", "stuck")
                world.step_worker(chance.choice(kinds), chance.choice(("w1", "w2")), chance.choice((1, 5)))
            case "ask":
                asks = ("cancel", "cancel all", "retry", "retry all", "remove", "await", "follow")
                world.step_ask(chance.choice(asks), chance.randrange(1000))
            case "sleep":
                world.sleep(chance.choice((0.01, 0.1, 1.0, 6.0)))
            case "kill":
                world.step_kill()
            case "stop":
                world.step_stop()
    world.finish()
    return world
