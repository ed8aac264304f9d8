"""Nothing that was acknowledged is lost, nothing that is done runs again, everything ends once, whatever is killed."""

from tests.sim.jobs import walk


def test_the_books_agree_whatever_is_killed() -> None:
    submitted_count = begun_count = 0
    for seed in range(12):
        world = walk(seed, 400)
        submitted_count += len(world.acknowledged)
        begun_count += len(world.begun)
    assert submitted_count > 500, "the walks are worth something"
    assert begun_count > 500
