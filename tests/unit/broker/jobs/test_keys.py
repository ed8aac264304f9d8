"""Jobs with a `key`: at most so many at once."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.broker.jobs.states import JobState
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, FakeWorker, World


def running(world: World) -> list[str]:
    """What workers run and were not told to cancel, in the order of submission."""
    calls = [
        call.request_id
        for worker in world.workers.values()
        for msg_id, call in worker.running.items()
        if msg_id not in worker.cancelled
    ]
    return sorted(calls, key=lambda job_id: int(job_id.rpartition("-")[2]))


def test_one_of_a_key_runs_at_once_and_the_others_are_held() -> None:
    world = World()
    worker = world.worker()
    jobs = [world.submit(key="k") for _ in range(3)]
    other = world.submit(key="other")
    assert running(world) == [jobs[0], other]
    assert [world.state(job_id) for job_id in jobs] == ["assigned", "held", "held"]
    assert world.jobs.holders("k") == [jobs[0]]
    assert world.jobs.holders("none") == []
    worker.succeed(jobs[0])
    assert running(world) == [jobs[1], other]
    worker.succeed(jobs[1])
    worker.succeed(jobs[2])
    worker.succeed(other)
    assert not world.jobs.keys.by_name, "nothing is remembered of keys that nobody has"


def test_a_limit_of_more_than_one() -> None:
    world = World()
    worker = world.worker()
    jobs = [world.submit(key="k", key_limit=2) for _ in range(5)]
    assert running(world) == jobs[:2]
    worker.succeed(jobs[0])
    assert running(world) == jobs[1:3]


def test_a_key_holds_over_commands_and_workers() -> None:
    world = World()
    one, two = world.worker("w1", "one"), world.worker("w2", "two")
    first, second = world.submit("one", key="k"), world.submit("two", key="k")
    assert (len(one.running), len(two.running)) == (1, 0)
    one.succeed(first)
    assert running(world) == [second]


def test_the_most_urgent_is_released_first() -> None:
    world = World()
    worker = world.worker()
    first = world.submit(key="k")
    low, high = world.submit(key="k", priority=1), world.submit(key="k", priority=8)
    worker.succeed(first)
    assert running(world) == [high]
    assert world.state(low) == "held"


@pytest.mark.parametrize("ending", ["failed", "retried", "cancelled", "lost", "given back"])
def test_however_an_attempt_ends_its_place_is_free(ending: str) -> None:
    world = World(chance=0.0)
    worker = world.worker()
    first, second = world.submit(key="k"), world.submit(key="k")
    if ending == "failed":
        worker.fail(first, retry=False)
    elif ending == "retried":
        worker.fail(first, retry=60)
    elif ending == "cancelled":
        world.change(Cancel, job_id=first)
    elif ending == "lost":
        worker.kill()
        assert world.state(second) == "held", "its worker may come back with it"
        world.sleep(5)
        worker.connect()
        assert running(world) == [first], "it goes first again"
        return
    else:
        worker.fail(first, code="worker_stopping")
        assert running(world) == [first]
        return
    assert running(world) == [second]


def test_a_held_job_can_be_cancelled_and_expires() -> None:
    world = World()
    worker = world.worker()
    first = world.submit(key="k")
    second = world.submit(key="k")
    third = world.submit(key="k", expires_at=world.now + 5)
    fourth = world.submit(key="k")
    assert world.change(Cancel, job_id=second) == 1
    world.sleep(10)
    assert world.view(third).code == "expired"
    worker.succeed(first)
    assert running(world) == [fourth]


def test_a_place_that_is_kept_goes_on_if_its_job_is_cancelled() -> None:
    world = World()
    worker = world.worker()
    first, second, third = (world.submit(key="k") for _ in range(3))
    world.is_lazy = True
    worker.succeed(first)
    for _ in range(6):  # until the second was released
        world.journal.work()
        world.journal.answer()
        world.turn()
        if world.jobs.keys.by_name["k"].released:
            break
    assert world.jobs.keys.by_name["k"].released
    world.is_lazy = False
    world.change(Cancel, job_id=second)
    assert running(world) == [third]


def test_a_held_job_that_is_cancelled_while_held_ones_are_looked_for() -> None:
    world = World()
    worker = world.worker()
    first, second, third = (world.submit(key="k") for _ in range(3))
    world.is_lazy = True
    world.jobs.cancel(FakeAsker(sees_all=True), Cancel("c", job_id=second), world.now)
    worker.succeed(first)
    world.settle()
    assert running(world) == [third]
    world.is_lazy = False
    assert world.state(second) == "cancelled"


def test_a_released_job_without_workers_keeps_no_place() -> None:
    world = World()
    one, two = world.worker("w1", "one"), world.worker("w2", "two")
    first = world.submit("one", key="k")
    second, third = world.submit("two", key="k"), world.submit("one", key="k")
    assert [world.state(job_id) for job_id in (second, third)] == ["held", "held"]
    two.leave()
    two.lose_link()
    one.succeed(first)
    assert world.state(second) == "accepted", "it waits for a worker"
    assert running(world) == [third]
    two.connect()
    world.sleep(1.5)
    assert world.state(second) == "held"
    one.succeed(third)
    assert running(world) == [second]


def test_a_place_is_not_kept_for_ever() -> None:
    """The second job's lane loses its workers between its release and its assignment."""
    world = World()
    one, two = world.worker("w1", "one"), world.worker("w2", "two")
    first = world.submit("one", key="k")
    second, third = world.submit("two", key="k"), world.submit("one", key="k")
    world.is_lazy = True
    one.succeed(first)
    while not world.jobs.keys.by_name["k"].released:
        world.journal.work()
        world.journal.answer()
        world.turn()
    two.leave()
    two.lose_link()
    world.is_lazy = False
    world.turn()
    assert (world.state(second), world.state(third)) == ("accepted", "held")
    world.sleep(1.5)
    assert running(world) == [third]


def test_jobs_of_one_key_with_different_limits() -> None:
    world = World()
    worker = world.worker()
    first, second = world.submit(key="k", key_limit=2), world.submit(key="k", key_limit=2)
    third = world.submit(key="k", key_limit=1)
    fourth = world.submit(key="k", key_limit=2)
    assert running(world) == [first, second]
    worker.succeed(first)
    assert running(world) == [second], "the third goes first, and wants to be alone"
    worker.succeed(second)
    assert running(world) == [third, fourth] or running(world) == [third]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_restart_keeps_places_and_releases_what_was_held(is_known: bool) -> None:
    world = World()
    worker = world.worker()
    other = world.worker("w2", "other")
    first = world.submit(key="k")
    second = world.submit("other", key="k")
    if is_known:
        world.sleep(1)  # its assignment is on disk
    world.kill()
    other.connect()
    world.sleep(3)
    assert running(world) == [first]
    worker.connect()
    world.sleep(10)
    assert running(world) == [first], "it was adopted"
    worker.succeed(first)
    assert running(world) == [second]
    assert world.begun.count((first, 1, "w1")) == 1


def test_after_a_restart_a_job_with_a_key_waits_until_every_worker_may_have_claimed() -> None:
    world = World()
    worker = world.worker()
    worker.succeed(world.submit())
    world.kill()
    worker.connect()
    other, with_key = world.submit(), world.submit(key="k")
    assert running(world) == [other]
    assert world.state(with_key) == "accepted", "it is not held: no other job has its place"
    world.sleep(world.jobs.keys.opens_at - world.now - 0.1)
    assert running(world) == [other]
    world.sleep(0.2)
    assert running(world) == [other, with_key]


def test_a_worker_that_comes_back_too_late_finds_its_place_taken() -> None:
    world = World()
    worker = world.worker()
    other = world.worker("w2", "other")
    world.submit(key="k")
    second = world.submit("other", key="k")
    assert world.disk.jobs[1].change.state == JobState.ACCEPTED, "the assignment is not on disk"
    world.kill()
    other.connect()
    world.sleep(6)
    assert world.jobs.holders("k") == [second]
    worker.connect()
    assert running(world) == [second]
    assert len(worker.settled) == 1


def test_a_read_that_fails_is_tried_again() -> None:
    world = World()
    worker = world.worker()
    first, second = world.submit(key="k"), world.submit(key="k")
    world.journal.broken_reads = {"FindHeldByKey"}
    worker.succeed(first)
    assert world.state(second) == "held"
    world.journal.broken_reads = set()
    world.sleep(2)
    assert running(world) == [second]


def test_a_step_of_the_clock_moves_what_is_kept() -> None:
    world = World()
    world.worker()
    world.submit(key="k")
    world.submit(key="k")
    world.kill()
    opens_at = world.jobs.keys.opens_at
    world.jobs.clock_stepped(3600)
    assert world.jobs.keys.opens_at == opens_at + 3600
    assert world.jobs.keys.next_at == opens_at + 3600


LIMITS = {"a": 1, "b": 2}


class Play:
    """Whatever may happen to jobs of two keys and two commands."""

    def __init__(self) -> None:
        self.world = World()
        self.workers = [
            self.world.worker("w1", "one", "two", concurrency=4),
            self.world.worker("w2", "two", concurrency=4),
        ]

        self.away_since: dict[FakeWorker, float] = {}

    def submit(self, number: int) -> None:
        key = "ab"[number % 2]
        command = ("one", "two")[number // 2 % 2]
        self.world.submit(command, key=key, key_limit=LIMITS[key], priority=number)

    def succeed(self, number: int) -> None:
        worker = self.workers[number % 2]
        for job_id in self.running(worker)[:1]:
            worker.succeed(job_id)

    def fail(self, number: int) -> None:
        worker = self.workers[number % 2]
        for job_id in self.running(worker)[:1]:
            worker.fail(job_id, retry=number > 2 and float(number))

    def cancel(self, number: int) -> None:
        kept = self.world.disk.jobs.values()
        open_ids = [job.new.job_id for job in kept if job.change.state < JobState.DONE]
        if open_ids:
            self.world.change(Cancel, job_id=open_ids[number % len(open_ids)])

    def lose(self, number: int) -> None:
        worker = self.workers[number % 2]
        if worker.link is not None:
            self.away_since[worker] = self.world.now
            worker.lose_link()

    def connect(self, number: int) -> None:
        worker = self.workers[number % 2]
        if worker.link is None:
            worker.connect()

    def kill(self, number: int) -> None:
        del number
        for worker in self.workers:
            if worker.link is not None:
                self.away_since[worker] = self.world.now
        self.world.kill()

    def sleep(self, number: int) -> None:
        self.world.sleep(number)

    def running(self, worker: FakeWorker) -> list[str]:
        return sorted(call.request_id for call in worker.running.values()) if worker.link else []

    def check(self) -> None:
        """A worker that is away for so long that it has lost its attempts counts no more, nor does a cancelled job of
        which it cannot be told."""
        jobs = self.world.disk.jobs.values()
        keys = {kept.new.job_id: kept.new.key for kept in jobs}
        cancelled = {kept.new.job_id for kept in jobs if kept.change.state == JobState.CANCELLED}
        adoption_s = self.world.settings.adoption_s
        counts = Counter(
            keys[call.request_id]
            for worker in self.workers
            if worker.link is not None or self.world.now < self.away_since[worker] + adoption_s
            for msg_id, call in worker.running.items()
            if msg_id not in worker.cancelled and call.request_id not in cancelled
        )
        assert all(counts[key] <= limit for key, limit in LIMITS.items()), counts

    def end(self) -> None:
        """With workers that come back and succeed, everything ends."""
        for _ in range(len(self.world.disk.jobs) + 5):
            for number, worker in enumerate(self.workers):
                self.connect(number)
                for job_id in self.running(worker):
                    worker.succeed(job_id)
            self.sleep(3)
            self.check()
        assert all(kept.change.state >= JobState.DONE for kept in self.world.disk.jobs.values())
        assert not self.world.jobs.keys.by_name


KINDS = (*("submit",) * 3, "succeed", "succeed", "fail", "cancel", "lose", "connect", "kill", "sleep")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 5)), max_size=30))
@settings(max_examples=20)  # `make soak` tries more
def test_a_limit_is_never_exceeded_and_everything_ends(steps: list[tuple[str, int]]) -> None:
    check_limit(steps)


def check_limit(steps: list[tuple[str, int]]) -> None:
    play = Play()
    for kind, number in steps:
        getattr(play, kind)(number)
        play.check()
    play.end()
