"""Which job goes next, and how many are in memory."""

import pytest
from taskferry.broker.jobs import attempts, intake, windows
from taskferry.protocol.job_messages import Filter, Remove
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import WINDOW_COUNT_MIN, World


def order_of(world: World) -> list[str]:
    return [job_id for job_id, _, _ in world.begun]


def test_without_a_worker_jobs_are_on_disk_only() -> None:
    world = World()
    for _ in range(300):
        world.submit()
    assert not world.jobs.memory.by_id
    assert world.jobs.counts.accepted_count == 300
    assert world.view("job-1").reason == "for a worker that serves echo"
    worker = world.worker(concurrency=10)
    assert len(worker.running) == 10
    lane = next(iter(world.jobs.lanes.values()))
    assert (lane.loaded_count, lane.accepted_count, lane.assigned_count) == (10, 290, 10)
    while worker.running:
        worker.succeed(next(iter(worker.running.values())).request_id)
    assert order_of(world) == [f"job-{n}" for n in range(1, 301)], "oldest first"


def test_the_highest_priority_goes_first_even_past_a_full_window() -> None:
    world = World()
    worker = world.worker(concurrency=1)
    for _ in range(20):
        world.submit(priority=3)
    high = world.submit(priority=9)
    low = world.submit(priority=0)
    lane = next(iter(world.jobs.lanes.values()))
    assert lane.loaded_count == WINDOW_COUNT_MIN
    worker.succeed("job-1")
    assert order_of(world)[1] == high
    while worker.running:
        worker.succeed(next(iter(worker.running.values())).request_id)
    assert order_of(world)[-1] == low
    assert len(order_of(world)) == 22


def test_a_lane_that_was_empty_takes_what_ranks_before_its_last() -> None:
    world = World()
    world.worker(concurrency=1)
    for _ in range(7):
        world.submit()
    world.change(Cancel, filter=Filter(job_ids=["job-2", "job-3"]))
    high = world.submit(priority=9)
    assert high in {job.new.job_id for job in next(iter(world.jobs.lanes.values())).waiting}


def test_delayed_jobs_come_in_their_time() -> None:
    world = World()
    worker = world.worker()
    late, soon = world.submit(delay=60), world.submit(run_at=world.now + 10)
    past = world.submit(run_at=1.0)
    assert [call.request_id for call in worker.running.values()] == [past]
    assert not set(world.jobs.memory.by_id) - {past}
    assert world.view(soon).reason == "until 2027-01-15 08:00:10Z"
    world.sleep(10.1)
    assert order_of(world) == [past, soon]
    world.sleep(50)
    assert order_of(world) == [past, soon, late]


def test_a_retried_job_says_when_it_comes_back() -> None:
    world = World()
    worker = world.worker()
    job_id = world.submit(backoff=60)
    worker.fail(job_id)
    assert world.view(job_id).reason == "until 2027-01-15 08:01:00Z, after its 1st failure"


def test_a_target_has_a_lane_of_its_own() -> None:
    world = World()
    world.worker("plain")
    aimed = world.submit(target={"gpu": "yes"})
    named = world.submit(target="w9")
    assert not world.begun
    assert world.view(aimed).reason == "for a worker that serves echo and is gpu=yes"
    world.worker("gpu", labels={"gpu": "yes"})
    assert world.begun == [(aimed, 1, "gpu")]
    world.worker("w9")
    assert world.begun[1:] == [(named, 1, "w9")]
    world.kill()
    assert {
        lane.target if isinstance(lane.target, str) else str(lane.target)
        for lane in world.jobs.lanes.values()
    } == {
        "w9",
        "{'gpu': 'yes'}",
    }


def test_workers_that_come_back_without_connecting_are_noticed() -> None:
    world = World()
    worker = world.worker()
    assert worker.link is not None
    world.core.drain_worker(worker.link, world.core_now)
    job_id = world.submit()
    assert not world.begun
    world.core.resume_worker(worker.link, world.core_now)
    world.sleep(1.1)
    assert order_of(world) == [job_id]


def test_a_lane_pauses_if_the_core_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.worker(concurrency=1)
    world.jobs.attempts.requesters["json"].account.waiting_size_bytes_max = 10
    world.submit(data="x")
    job_id = world.submit(data="x" * 100)
    assert world.state(job_id) == "accepted"
    assert not set(world.jobs.memory.by_id) - {"job-1"}
    world.jobs.attempts.requesters["json"].account.waiting_size_bytes_max = 1000
    world.sleep(1.1)
    assert job_id in world.jobs.memory.by_id


def test_what_waits_in_the_cores_line_is_bounded_in_bytes_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WAITING_SIZE_BYTES_MAX", 1000)
    monkeypatch.setattr(windows, "WAITING_COUNT_MAX", 3)
    world = World()
    world.checks_core = False
    worker = world.worker("w1", "echo", "send", concurrency=1)
    for _ in range(6):
        world.submit(data="x" * 398)
    assert world.jobs.attempts.waiting_count == 2, "of 400 bytes each"
    for _ in range(3):
        world.submit("send", data="x" * 398)
    assert world.jobs.attempts.waiting_count == 3, "and one of each lane"
    while worker.running:
        worker.succeed(next(iter(worker.running.values())).request_id)
    assert len(world.begun) == 9
    assert attempts.WAITING_SIZE_BYTES_MAX > 1000


def test_lanes_are_bounded_and_go_with_their_last_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LANES_COUNT_MAX", 2)
    world = World(keep_done_s=1.0)
    worker = world.worker("w1", "a", "b", "c")
    first = world.submit("a")
    world.submit("b")
    world.send("c")
    assert world.asker.take_code() == "overloaded"
    worker.succeed(first)
    world.sleep(3)
    assert len(world.jobs.lanes) == 1
    assert len(world.disk.lanes) == 1
    world.submit("c")


def test_a_wave_of_jobs_is_read_in_halves_of_a_window() -> None:
    world = World()
    for _ in range(100):
        world.submit()
    worker = world.worker(concurrency=20)
    lane = next(iter(world.jobs.lanes.values()))
    counts = set()
    while worker.running:
        worker.succeed(next(iter(worker.running.values())).request_id)
        counts.add(lane.loaded_count)
    assert max(counts) <= 20
    assert len(world.begun) == 100


def test_the_clock_may_be_set_back() -> None:
    world = World()
    world.worker()
    world.jobs.attempts.requesters["json"].account.waiting_size_bytes_max = 10**6
    lost = world.submit()
    world.wait_for(lost, world.asker, timeout=10.0)
    world.workers["w1"].kill()
    world.now -= 3600
    world.jobs.clock_stepped(-3600, world.now)
    world.turn()
    world.sleep(4.2)
    assert world.view(lost).losses == 1
    world.sleep(6)
    assert world.asker.take_code() == "timeout"


def test_a_lane_without_jobs_is_removed_at_the_start() -> None:
    world = World(is_lazy=True)
    world.settle()
    world.send(job_id="one")
    world.settle()
    world.jobs.cancel(world.asker, Cancel("c", "one"), world.now)
    world.settle()
    world.jobs.remove(world.asker, Remove("c", "one"), world.now)
    world.turn()
    world.send()
    world.turn()
    assert world.journal.work()  # finds the job to remove
    assert world.journal.answer()
    world.turn()
    world.journal.is_full = True
    assert world.journal.work()  # the other one cannot be written
    world.journal.is_full = False
    assert world.journal.work()  # the lane stays, for it has one more job, of which the journal knows nothing
    world.kill()
    assert world.disk.lanes
    assert not world.disk.jobs
    world.settle()
    assert not world.disk.lanes
    world.send()
    world.settle()
    assert list(world.disk.lanes) == list(world.jobs.lanes) == [2]


def test_nothing_is_left_of_a_lane_whose_last_job_could_not_be_written() -> None:
    world = World(is_lazy=True)
    world.settle()
    world.send(job_id="one")
    world.settle()
    world.jobs.cancel(world.asker, Cancel("c", "one"), world.now)
    world.settle()
    world.send(job_id="two")
    world.jobs.remove(world.asker, Remove("c", "one"), world.now)
    world.turn()
    world.journal.is_full = True
    world.settle()
    assert not world.jobs.lanes
    world.journal.is_full = False
    world.sleep(1.1)
    world.settle()
    assert not world.disk.lanes
    world.kill()
    world.settle()
