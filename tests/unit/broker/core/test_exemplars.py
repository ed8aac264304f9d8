"""Requests that are kept as examples of their buckets."""

from taskferry.broker.core.measures.exemplars import EXEMPLAR_S_MIN, Exemplar
from taskferry.broker.core.measures.histogram import DURATION_BOUNDS_S

from tests.unit.broker.core.world import World

BUCKET_OF_A_SECOND = DURATION_BOUNDS_S.index(1.0)


def exemplar(world: World, index: int) -> Exemplar | None:
    kept = world.core.roster.commands["echo"].exemplars.kept
    assert len(kept) == len(DURATION_BOUNDS_S) + 1
    return kept[index]


def test_a_request_is_the_exemplar_of_its_bucket() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(trace="00-trace")
    world.sleep(0.75)
    worker.succeed(request_id)
    kept = exemplar(world, BUCKET_OF_A_SECOND)
    assert kept is not None
    assert (kept.request_id, kept.trace, kept.duration_s) == (request_id, "00-trace", 0.75)
    assert kept.ended_at == world.now
    assert [exemplar(world, index) for index in range(len(DURATION_BOUNDS_S) + 1)].count(None) == 16


def test_an_exemplar_is_kept_for_a_while_and_then_replaced() -> None:
    world = World()
    worker, requester = world.worker(concurrency=9), world.requester()

    def kept_after(seconds: float) -> str:
        world.sleep(seconds)
        worker.succeed(requester.submit())
        kept = exemplar(world, 0)
        assert kept is not None
        return kept.request_id

    assert [kept_after(0.0), kept_after(EXEMPLAR_S_MIN / 2), kept_after(EXEMPLAR_S_MIN / 2)] == [
        "r1",
        "r1",
        "r3",
    ]
