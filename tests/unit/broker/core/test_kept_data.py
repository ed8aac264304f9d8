"""Data that a worker has is released once nobody can need it again, and what may be needed is bounded."""

from taskferry.broker.core.delivery.kept_data import KEPT_SIZE_BYTES_MIN

from tests.unit.broker.core.world import FakeRequester, World

LARGE = b'"%s"' % (b"x" * 9_998)
"""10,000 bytes."""


def data_sizes(requester: FakeRequester) -> list[int]:
    """Of its requests in flight."""
    return [len(request.call.data) for request in requester.session.requests.values()]


def test_what_has_left_the_broker_is_released_at_the_end_of_the_turn() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=2), world.requester()
    released = requester.submit(data=LARGE)
    kept = requester.submit(data=LARGE, idempotent=True)
    assert world.core.kept_data.size_bytes == 20_000
    world.end_turn()
    assert world.core.kept_data.size_bytes == 10_000
    assert data_sizes(requester) == [0, 10_000]
    worker.succeed(released)
    worker.succeed(kept)
    assert world.core.kept_data.size_bytes == 0
    assert requester.outcome(released) == requester.outcome(kept) == "success"


def test_from_which_size_on_data_is_released() -> None:
    world = World()
    world.worker("w", concurrency=2)
    requester = world.requester()
    for size_bytes in (KEPT_SIZE_BYTES_MIN - 1, KEPT_SIZE_BYTES_MIN):
        requester.submit(data=b"1" * size_bytes)
    assert world.core.kept_data.size_bytes == KEPT_SIZE_BYTES_MIN
    world.end_turn()
    assert data_sizes(requester) == [KEPT_SIZE_BYTES_MIN - 1, 0]


def test_what_the_link_still_holds_is_kept_and_goes_to_another_worker() -> None:
    world = World()
    stuck, requester = world.worker("stuck", is_stuck=True, concurrency=3), world.requester()
    first, second = requester.submit(data=LARGE), requester.submit(data=LARGE)
    world.end_turn()
    world.sleep(1.0)
    assert data_sizes(requester) == [10_000, 10_000]
    stuck.written_count += 2  # the welcome, and the first
    world.sleep(1.0)
    assert data_sizes(requester) == [0, 10_000]
    other = world.worker("other")
    stuck.leave()
    assert other.holds == [second]
    assert requester.outcome(first) == "worker_lost"
    world.end_turn()
    assert world.core.kept_data.size_bytes == 0


def test_what_waits_again_counts_as_waiting() -> None:
    world = World()
    stuck, requester = world.worker("stuck", is_stuck=True), world.requester()
    world.worker("other")
    busy, request_id = requester.submit(data=b"{}", target="other"), requester.submit(data=LARGE)
    assert stuck.holds == [request_id]
    stuck.leave()
    assert (world.core.kept_data.size_bytes, world.core.queue.size_bytes) == (0, 10_000)
    requester.cancel(request_id)
    requester.cancel(busy)
    assert world.core.queue.size_bytes == 0


def test_what_may_run_again_still_does() -> None:
    world = World()
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    request_id = requester.submit(data=LARGE, idempotent=True)
    world.end_turn()
    first, second = (worker, other) if worker.holds else (other, worker)
    first.leave()
    assert second.holds == [request_id]
    world.end_turn()
    assert world.core.kept_data.size_bytes == 10_000
    second.leave()
    assert world.core.kept_data.size_bytes == 0


def test_beyond_the_bound_the_oldest_of_who_keeps_most_lose_their_second_chance() -> None:
    world = World(assigned_size_bytes_max=80_000)
    worker = world.worker("w", concurrency=20)
    greedy, modest = (world.requester(world.account(name)) for name in ("greedy", "modest"))
    submitted = [modest.submit(data=LARGE, idempotent=True) for _ in range(2)]
    many = [greedy.submit(data=LARGE, idempotent=True) for _ in range(6)]
    world.end_turn()
    assert world.core.kept_data.size_bytes == 80_000, "as much as may be"
    assert world.core.kept_data.given_up_count == 0
    many += [greedy.submit(data=LARGE, idempotent=True)]
    world.end_turn()
    assert data_sizes(modest) == [10_000] * 2
    assert data_sizes(greedy) == [0] * 4 + [10_000] * 3, "an equal share of seven eighths"
    assert world.core.kept_data.given_up_count == 4
    other = world.worker("other", concurrency=20)
    worker.leave()
    lost = [greedy.answer(request_id) for request_id in many[:4]]
    assert {answer.outcome for answer in lost} == {"worker_lost"}
    assert all(answer.text.endswith("(assigned_size_bytes_max)") for answer in lost)
    assert other.holds == submitted + many[4:], "the others run again"


def test_what_was_given_up_is_not_hedged() -> None:
    world = World(assigned_size_bytes_max=0)
    world.worker("w")
    world.worker("other")
    requester = world.requester()
    requester.submit(data=LARGE, idempotent=True, hedge=0.1)
    small = requester.submit(idempotent=True)
    world.end_turn()
    assert data_sizes(requester) == [0, 2]
    requester.cancel(small)
    world.sleep(1.0)
    assert world.core.counts.hedged_count == 0


def test_more_is_kept_after_the_bound_was_raised() -> None:
    world = World(assigned_size_bytes_max=0)
    world.worker("w", concurrency=2)
    requester = world.requester()
    requester.submit(data=LARGE, idempotent=True)
    world.end_turn()
    world.reconfigure(assigned_size_bytes_max=10_000)
    requester.submit(data=LARGE, idempotent=True)
    world.end_turn()
    assert data_sizes(requester) == [0, 10_000]


def test_each_request_ends_by_itself() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=4), world.requester()
    first, second = (requester.submit(data=LARGE, idempotent=True) for _ in range(2))
    world.end_turn()
    gone = requester.submit(data=LARGE)
    requester.cancel(gone)
    assert world.core.kept_data.size_bytes == 20_000
    world.end_turn()
    worker.succeed(first)
    assert world.core.kept_data.size_bytes == 10_000
    worker.succeed(second)
    assert world.core.kept_data.size_bytes == 0
    world.end_turn()
