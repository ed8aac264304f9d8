"""What must be true of jobs between any two turns. Tests check it after every turn; production never does."""

from .job import DISK, ORPHANED, RUNNING, STARTING, WAITING, Job
from .jobs import Jobs
from .states import Hold, JobState
from .windows import WAITING_COUNT_MAX, WINDOW_COUNT_MAX


def check_invariants(jobs: Jobs) -> None:
    """Raise AssertionError if the books of jobs do not agree with each other, or with the core's. Walks over all jobs
    in memory and all lanes."""
    _check_counts(jobs)
    _check_lanes(jobs)
    for job_id, job in jobs.memory.by_id.items():
        assert job.new.job_id == job_id
        _check_job(jobs, job)
    orphans = [job for job in jobs.memory.by_id.values() if job.place == ORPHANED]
    assert set(jobs.orphans.jobs) <= set(orphans)
    _check_unique(jobs)
    _check_keys(jobs)
    if not jobs.attempts.has_unheard:
        _check_core(jobs)


def _check_counts(jobs: Jobs) -> None:
    counts, lanes = jobs.counts, jobs.lanes.values()
    assert counts.accepted_count == sum(lane.accepted_count for lane in lanes)
    assert counts.assigned_count == sum(lane.assigned_count for lane in lanes)
    assert counts.held_count >= 0
    assert counts.open_count == sum(jobs.lives.owners.values())
    assert all(count > 0 for count in jobs.lives.owners.values())
    assert all(count >= 0 for count in counts.kept.values())
    assert counts.open_size_bytes >= 0
    assert counts.kept_size_bytes >= 0
    assert counts.open_count + sum(counts.kept.values()) == sum(lane.jobs_count for lane in lanes)
    assert jobs.intake.pending_count >= 0
    assert jobs.intake.pending_size_bytes >= 0
    if not jobs.intake.pending_count:
        assert not jobs.intake.pending_size_bytes


def _check_lanes(jobs: Jobs) -> None:
    attempts = jobs.attempts
    waiting = [job for lane in jobs.lanes.values() for job in lane.waiting]
    assert attempts.waiting_count == len(waiting) <= WAITING_COUNT_MAX + len(jobs.lanes)
    assert attempts.waiting_size_bytes == sum(job.data_size_bytes for job in waiting)
    for number, lane in jobs.lanes.items():
        assert lane.number == number
        assert len(lane.waiting) <= WINDOW_COUNT_MAX
        assert lane.jobs_count > 0
        for job in lane.waiting:
            assert job.lane is lane
            assert job.place == WAITING
        if lane.waiting:
            assert lane.last_waiting().rank == max(job.rank for job in lane.waiting)


def _check_job(jobs: Jobs, job: Job) -> None:
    assert (job.place == WAITING) is (job in job.lane.waiting)
    assert job.unwritten_count >= 0
    assert bool(job.held) is (job.state is JobState.HELD)
    assert Hold.NOTHING in Hold(job.held)
    if job.place == DISK:
        assert job.unwritten_count, "nothing keeps it in memory"
    if job.state is JobState.ASSIGNED:
        assert job.place != DISK
        assert job.attempt >= 1
    if job.place in {RUNNING, ORPHANED, STARTING} and job.is_open:
        assert job.state is JobState.ASSIGNED
        assert job.msg_id is not None
    if job.place == STARTING:
        assert job.terms.at_most_once
    if job in jobs.lives.unrecorded:
        assert job.place in {RUNNING, ORPHANED}
    assert (job.ended_at is None) is job.is_open
    assert (job.remove_at is None) is job.is_open


def _check_keys(jobs: Jobs) -> None:
    """An attempt that keeps a place of its key is over, and its worker has not said so, or is away."""
    stays = jobs.keys.lingering.stays
    assert set(stays.values()) == {stay for key in jobs.keys.by_name.values() for stay in key.lingering}
    for msg_id, stay in stays.items():
        worker = jobs.keys.lingering.workers.get(stay.worker_id)
        assert worker is None or worker.assignments[msg_id].request is None


def _check_unique(jobs: Jobs) -> None:
    """Memory finds what it has of each key."""
    memory = jobs.memory
    for (command, key), same in memory.by_unique.items():
        assert not same.is_empty
        for job in (*same.open, *same.unstarted, *filter(None, [same.latest])):
            assert (job.lane.command, job.new.unique_key) == (command, key)
            assert memory.by_id[job.new.job_id] is job
    for job in memory.by_id.values():
        if job.new.unique_key is not None and job.is_open:
            same = memory.by_unique[job.lane.command, job.new.unique_key]
            assert job in same.open
            assert job in same.unstarted or job.attempt


def _check_core(jobs: Jobs) -> None:
    """The core has exactly the calls that jobs think it has."""
    for requester in jobs.attempts.requesters.values():
        for job_id in requester.requests:
            assert jobs.memory.by_id[job_id].place in {WAITING, STARTING, RUNNING}
    for job in jobs.memory.by_id.values():
        if job.place in {WAITING, STARTING, RUNNING}:
            request = jobs.attempts.requester_of(job).requests[job.new.job_id]
            assert request.call.attempt is not None
            assert request.call.attempt.number == job.number
