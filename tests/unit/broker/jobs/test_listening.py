"""Who listens to jobs hears of each change that is on disk, from when it begins to when it stops."""

from taskferry.broker.jobs.rows import JobChange
from taskferry.broker.jobs.states import JobState

from tests.unit.broker.jobs.world import World


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str, str]] = []

    def job_written(self, job_id: str, command: str, owner: str, change: JobChange) -> None:
        self.heard.append((job_id, command, owner, JobState(change.state).name.lower()))


def test_each_state_that_is_written_is_reported() -> None:
    world = World()
    listener = Listener()
    before = world.submit()
    world.sleep(1)
    world.jobs.listen(listener)
    worker = world.worker()
    world.sleep(1)
    worker.succeed(before)
    world.sleep(1)
    assert [heard[3] for heard in listener.heard] == ["assigned", "done"]
    assert {heard[0] for heard in listener.heard} == {before}
    world.jobs.listen(None)
    world.submit()
    world.sleep(1)
    assert len(listener.heard) == 2
