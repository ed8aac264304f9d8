"""Jobs with a `key`: at most so many at once."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.broker.jobs.job import Job
from taskferry.broker.jobs.states import JobState
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, FakeWorker, World


def running(world: World) -> list[str]:
    """What workers run, also if they were told to cancel it, in the order of submission."""
    calls = [call.request_id for worker in world.workers.values() for call in worker.running.values()]
    return sorted(calls, key=lambda job_id: int(job_id.rpartition("-")[2]))


def test_one_of_a_key_runs_at_once_and_the_others_are_held() -> None:
    world = World()
    worker = world.worker()
    jobs = [world.submit(key="k") for _ in range(3)]
    other = world.submit(key="other")
    assert running(world) == [jobs[0], other]
    assert [world.state(job_id) for job_id in jobs] == ["assigned", "held", "held"]
    assert world.jobs.keys.holders("k") == [jobs[0]]
    assert world.jobs.keys.holders("none") == []
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


@pytest.mark.parametrize("ending", ["failed", "retried", "lost", "given back"])
def test_however_an_attempt_ends_its_place_is_free(ending: str) -> None:
    world = World(chance=0.0)
    worker = world.worker()
    first, second = world.submit(key="k"), world.submit(key="k")
    if ending == "failed":
        worker.fail(first, retry=False)
    elif ending == "retried":
        worker.fail(first, retry=60)
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


def over(world: World, ending: str, **options: Any) -> tuple[FakeWorker, str, str]:
    """A job whose attempt is over, though its worker still runs it, and one that waits for its place."""
    worker = world.worker("w1", concurrency=1)
    world.worker("w2", concurrency=1)
    first = world.submit(key="k", timeout=5.0, backoff=1.0, target="w1", **options)
    second = world.submit(key="k")
    if ending == "cancelled":
        world.change(Cancel, job_id=first)
    else:
        world.sleep(5.1)
    assert worker.cancelled
    assert running(world) == [first]
    assert world.state(second) == "held"
    return worker, first, second


@pytest.mark.parametrize("ending", ["cancelled", "timed out"])
def test_a_place_is_taken_until_the_worker_has_said_that_the_attempt_has_ended(ending: str) -> None:
    world = World()
    worker, first, second = over(world, ending)
    assert world.jobs.keys.holders("k") == []
    assert world.jobs.keys.stopping("k") == [first]
    world.sleep(3600)
    assert running(world) == [first], "however long that takes"
    worker.fail(first, "cancelled")
    assert world.jobs.keys.stopping("k") == []
    assert running(world) == [second if ending == "cancelled" else first]
    assert len(world.begun) == 2


def test_each_attempt_that_is_over_keeps_a_place_of_its_own() -> None:
    world = World()
    worker = world.worker()
    jobs = [world.submit(key="k", key_limit=2) for _ in range(4)]
    for job_id in jobs[:2]:
        world.change(Cancel, job_id=job_id)
    assert running(world) == jobs[:2]
    worker.fail(jobs[0], "cancelled")
    assert running(world) == jobs[1:3]
    worker.fail(jobs[1], "cancelled")
    assert running(world) == jobs[2:]


def test_a_job_that_is_tried_again_waits_for_the_end_of_its_own_attempt() -> None:
    world = World()
    worker, first, second = over(world, "timed out", priority=9)
    world.sleep(2)
    assert (running(world), world.state(first)) == ([first], "held")
    worker.succeed(first)
    assert running(world) == [first]
    assert world.view(first).attempt == 2
    worker.succeed(first)
    assert running(world) == [second]


@pytest.mark.parametrize("ending", ["cancelled", "timed out"])
def test_the_place_is_free_when_the_worker_has_not_come_back_in_time(ending: str) -> None:
    world = World()
    worker, first, second = over(world, ending)
    worker.lose_link()
    world.sleep(3.9)
    assert running(world) == [first]
    assert world.jobs.next_at <= world.now + 0.2
    world.sleep(0.2)
    assert running(world) == [first, second], "as of any job whose worker was lost"
    worker.connect()
    assert running(world) == [second]


@pytest.mark.parametrize("is_noticed", [False, True])
def test_the_place_is_free_when_the_worker_is_back_and_was_told_to_forget_the_attempt(
    is_noticed: bool,
) -> None:
    world = World()
    worker, _, second = over(world, "cancelled")
    if is_noticed:
        worker.lose_link()
    worker.connect()
    assert running(world) == [second]
    assert worker.settled
    world.sleep(10)
    assert running(world) == [second]


@pytest.mark.parametrize("is_back", [False, True])
def test_the_place_of_an_orphan_that_is_cancelled_is_taken_for_as_long_as_its_worker_has(
    is_back: bool,
) -> None:
    world = World()
    worker = world.worker("w1")
    world.worker("w2")
    first = world.submit(key="k", target="w1")
    second = world.submit(key="k")
    worker.lose_link()
    world.change(Cancel, job_id=first)
    assert running(world) == [first]
    if is_back:
        world.sleep(3)
        worker.connect()
        assert running(world) == [second]
        world.sleep(1.1)
        assert world.jobs.keys.next_at > world.now + 10, "nothing is due any more"
    else:
        world.sleep(3.9)
        assert running(world) == [first]
        world.sleep(0.2)
        assert running(world) == [first, second]


def test_an_answer_in_the_turn_of_a_cancel_frees_the_place_at_once() -> None:
    world = World(is_lazy=True)
    worker = world.worker()
    world.settle()
    for _ in range(2):
        world.send(key="k")
    world.settle()
    assert worker.link is not None
    job, msg_id = world.jobs.memory.by_id["job-1"], worker.msg_id_of("job-1")
    world.jobs.lives.cancel(job, world.now)
    world.core.cancel(world.jobs.attempts.requester_of(job), "job-1", world.core_now)
    del worker.running[msg_id]
    assert not world.core.failed(worker.link, msg_id, "cancelled", "cancelled", world.core_now)
    world.jobs.answered_late(msg_id, world.now)
    world.jobs.stir()
    world.settle()
    assert running(world) == ["job-2"]


def test_a_place_that_lingers_moves_with_the_clock() -> None:
    world = World()
    worker, first, second = over(world, "cancelled")
    worker.lose_link()
    world.now += 3600
    world.jobs.clock_stepped(3600, world.now)
    world.sleep(3.9)
    assert running(world) == [first]
    world.sleep(0.2)
    assert running(world) == [first, second]


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


def released(world: World) -> tuple[FakeWorker, str]:
    """A worker, and a job for which a place is kept: it was released, and is on its way to the core."""
    worker = world.worker(concurrency=5)
    first, second = world.submit(key="k"), world.submit(key="k", priority=5)
    world.is_lazy = True
    worker.succeed(first)
    while not world.jobs.keys.by_name["k"].released:
        world.journal.work()
        world.journal.answer()
        world.turn()
    return worker, second


@pytest.mark.parametrize("priority", [4, 5, 6])
def test_only_a_more_urgent_job_takes_a_place_that_is_kept(priority: int) -> None:
    world = World()
    _, second = released(world)
    keys = world.jobs.keys
    job = world.jobs.memory.by_id[second]
    late = Job(job.new._replace(seq=99, job_id="late", priority=priority), job.terms, job.lane, world.now)
    assert keys.take(late) is (priority > 5)
    assert keys.take(job) is (priority <= 5), "the place is its own"
    assert keys.take(job) is (priority <= 5), "it has it already"


def test_a_place_is_kept_for_a_second_whatever_the_clock_does() -> None:
    world = World()
    released(world)
    key = world.jobs.keys.by_name["k"]
    world.now += 0.9
    world.jobs.advance(world.now)
    assert key.released
    for by_s in (3600.0, -7200.0):
        world.now += by_s
        world.jobs.keys.clock_stepped(by_s, world.now, world.now + 4)
        world.jobs.keys.advance(world.now)
        assert key.released
    world.jobs.keys.clock_stepped(0.6, world.now, world.now + 4)
    assert world.jobs.keys.next_at <= world.now + 1
    world.now += 1
    world.jobs.keys.advance(world.now)
    assert not key.released


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
    assert world.jobs.keys.holders("k") == [second]
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
    world.now += 3600
    world.jobs.clock_stepped(3600, world.now)
    assert world.jobs.keys.opens_at == opens_at + 3600


def test_after_an_orderly_stop_no_key_waits() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    running_id, waiting = world.submit(key="k"), world.submit(key="other")
    held = world.submit(key="k")
    world.stop()
    worker.connect()
    assert running(world) == [running_id]
    world.worker("w2")
    assert running(world) == [running_id, waiting], "at once, and the place of the first is its own"
    worker.succeed(running_id)
    assert running(world) == [waiting, held]


def test_after_a_kill_all_keys_wait_and_jobs_without_one_do_not() -> None:
    world = World()
    world.kill()
    worker = world.worker(concurrency=3)
    first, second, plain = world.submit(key="k"), world.submit(key="k"), world.submit()
    assert running(world) == [plain]
    assert world.state(first) == "held"
    world.sleep(4.1)
    assert running(world) == [first, plain]
    worker.succeed(first)
    assert running(world) == [second, plain]


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_attempt_that_is_over_keeps_its_place_through_a_restart(is_killed: bool) -> None:
    world = World()
    worker, first, second = over(world, "cancelled")
    world.workers["w2"].lose_link()
    if is_killed:
        world.kill()
    else:
        world.stop()
    world.workers["w2"].connect()
    world.sleep(3)
    assert running(world) == [first], "its worker may come back with it"
    worker.connect()
    assert not worker.running
    world.sleep(1.1)
    assert running(world) == [second]


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
        self.world.submit(
            command, key=key, key_limit=LIMITS[key], priority=number, timeout=4.0, attempts=3, backoff=1.0
        )

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
        """Whatever handlers of a key run, cancelled or not, are within its limit, but for those of a worker that is
        away for so long that it has lost its attempts."""
        keys = {kept.new.job_id: kept.new.key for kept in self.world.disk.jobs.values()}
        adoption_s = self.world.settings.adoption_s
        counts = Counter(
            keys[call.request_id]
            for worker in self.workers
            if worker.link is not None or self.world.now < self.away_since[worker] + adoption_s
            for call in worker.running.values()
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
