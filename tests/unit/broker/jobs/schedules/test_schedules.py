"""Schedules: what they submit, when, and what they leave out."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from taskferry.broker.core.failure import Failure
from taskferry.broker.jobs.schedules import schedules as schedules_module
from taskferry.protocol.job_messages import Remove, Retry, Schedule, ScheduleAction, Schedules, ScheduleView
from taskferry.protocol.messages import Cancel

from tests.each_case import each_case
from tests.unit.broker.jobs.world import START, FakeAsker, World

MINUTE = 60.0
START_MINUTE = START - START % MINUTE


class Watched(World):
    """A world that remembers which runs were left out."""

    def __init__(self, **options: Any) -> None:
        self.skipped: list[tuple[str, str]] = []
        super().__init__(**options)

    def start(self) -> None:
        self.observed.schedule_skipped = lambda name, reason: self.skipped.append((name, reason))  # type: ignore[method-assign]
        super().start()


def ask(
    world: World, message: Schedule | ScheduleAction, asker: FakeAsker | None = None, data: object = 1
) -> Any:
    asker = asker or FakeAsker()
    if isinstance(message, Schedule):
        world.jobs.schedule(asker, message, Raw(msgspec.json.encode(data)), world.now)
    else:
        world.jobs.schedules(asker, message, world.now)
    world.settle()
    return asker.take()


def add(world: World, asker: FakeAsker | None = None, **options: Any) -> ScheduleView:
    answer = ask(world, Schedule(**{"name": "s", "command": "echo", **options}), asker)
    assert isinstance(answer, Schedules), answer
    return answer.schedules[0]


def refusal(world: World, asker: FakeAsker | None = None, data: object = 1, **options: Any) -> Failure:
    request_id, failure = ask(world, Schedule(**{"name": "s", "command": "echo", **options}), asker, data)
    assert request_id is None
    assert isinstance(failure, Failure)
    return failure


def act(world: World, action: Any, name: str | None = "s", asker: FakeAsker | None = None) -> Any:
    return ask(world, ScheduleAction(None, action, name), asker)


def jobs(world: World) -> list[str]:
    return [kept.new.job_id for kept in world.disk.jobs.values()]


def jump(world: World, now: float) -> None:
    """Move the clock, without all that would have happened in between."""
    world.now = now
    world.jobs.advance(now)
    world.turn()


def at(seconds: float) -> str:
    """The name of a time that is so many seconds after the full minute in which the world started."""
    return f"s@{datetime.fromtimestamp(START_MINUTE + seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


# --- what is submitted, and when ------------------------------------------------------------------------------------


def test_a_cron_schedule_submits_at_its_times() -> None:
    world = World()
    worker = world.worker()
    view = add(world, cron="* * * * *", priority=7, attempts=3, key="k")
    assert view.next == [START_MINUTE + MINUTE * number for number in (1, 2, 3, 4, 5)]
    assert (view.name, view.command, view.owner, view.cron, view.overlap) == (
        "s",
        "echo",
        "anna",
        "* * * * *",
        "skip",
    )
    assert jobs(world) == []
    for number in (1, 2, 3):
        world.sleep(MINUTE)
        assert jobs(world)[-1] == at(MINUTE * number)
        worker.succeed(at(MINUTE * number), number)
    assert len(jobs(world)) == 3
    job = world.view(at(MINUTE))
    assert (job.schedule, job.owner, job.priority, job.attempts, job.key) == ("s", "anna", 7, 3, "k")
    view = act(world, "list").schedules[0]
    assert view.next[0] == START_MINUTE + 4 * MINUTE
    assert (view.last_at, view.last_job_id) == (START_MINUTE + 3 * MINUTE, at(3 * MINUTE))
    assert world.jobs.counts.schedule_runs_count == 3


def test_an_interval() -> None:
    world = World()
    worker = world.worker()
    view = add(world, every=1.5)
    assert view.next[:2] == [START + 1.5, START + 3.0]
    world.sleep(1.6)
    (first,) = jobs(world)
    assert first == "s@" + f"{datetime.fromtimestamp(START + 1, UTC):%Y-%m-%dT%H:%M:%S}.500Z"
    worker.succeed(first)
    world.sleep(1.5)
    assert len(jobs(world)) == 2


def test_once_and_then_it_is_gone() -> None:
    world = World()
    world.worker()
    add(world, at=START + 10)
    world.sleep(9)
    assert jobs(world) == []
    world.sleep(2)
    assert len(jobs(world)) == 1
    assert act(world, "list", None).schedules == []
    assert world.disk.schedules == {}
    assert world.jobs.counts.schedules_count == 0


def test_around_a_change_of_clocks() -> None:
    """In Berlin 02:30 is skipped on 29 March 2026, and comes twice on 25 October."""
    world = World()
    for start, expected in (
        ("2026-03-28T12:00", ["s@2026-03-29T01:00:00Z", "s@2026-03-30T00:30:00Z"]),
        ("2026-10-24T12:00", ["s@2026-10-25T00:30:00Z", "s@2026-10-26T01:30:00Z"]),
    ):
        world.now = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
        view = add(world, cron="30 2 * * *", time_zone="Europe/Berlin")
        for job_id in expected:
            jump(world, view.next[0])
            assert jobs(world)[-1] == job_id
            world.change(Cancel, job_id=job_id)
            view = act(world, "list").schedules[0]
        act(world, "remove")


# --- overlap --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_run_is_skipped_while_the_one_before_has_not_ended(is_restarted: bool) -> None:
    world = Watched()
    worker = world.worker()
    add(world, cron="* * * * *")
    world.sleep(MINUTE)
    if is_restarted:
        world.kill()
        worker.connect()
    world.sleep(2 * MINUTE)
    assert jobs(world) == [at(MINUTE)]
    assert world.skipped == [("s", f"the run before has not ended: {at(MINUTE)}")] * 2
    assert act(world, "list").schedules[0].skipped_count == 2
    assert world.jobs.counts.schedule_skipped_count == 2
    worker.succeed(at(MINUTE))
    world.sleep(MINUTE)
    assert jobs(world) == [at(MINUTE), at(4 * MINUTE)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_runs_that_queue_go_one_after_another_however_they_end(is_restarted: bool) -> None:
    world = World()
    worker = world.worker()
    add(world, cron="* * * * *", overlap="queue")
    world.sleep(3 * MINUTE)
    ids = [at(MINUTE), at(2 * MINUTE), at(3 * MINUTE)]
    assert jobs(world) == ids
    assert [world.state(job_id) for job_id in ids] == ["assigned", "held", "held"]
    if is_restarted:
        world.kill()
        worker.connect()
    worker.fail(ids[0], retry=False)
    assert [world.state(job_id) for job_id in ids] == ["dead", "assigned", "held"]
    world.change(Cancel, job_id=ids[1])
    assert world.state(ids[2]) == "assigned"
    worker.succeed(ids[2])


def test_a_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules_module, "RUNS_OPEN_COUNT_MAX", 2)
    world = Watched()
    add(world, cron="* * * * *", overlap="queue")
    world.sleep(3 * MINUTE)
    assert len(jobs(world)) == 2
    assert world.skipped == [("s", "2 runs before it have not ended")]
    assert act(world, "run")[1].text == "2 runs before it have not ended"


def test_a_dead_run_that_is_retried_is_open_again() -> None:
    world = World()
    worker = world.worker()
    add(world, cron="* * * * *")
    world.sleep(MINUTE)
    worker.fail(at(MINUTE), retry=False)
    world.change(Retry, job_id=at(MINUTE))
    world.sleep(MINUTE)
    assert jobs(world) == [at(MINUTE)]
    worker.succeed(at(MINUTE))
    world.sleep(MINUTE)
    assert len(jobs(world)) == 2


# --- what was missed ------------------------------------------------------------------------------------------------


@each_case("down_s", [MINUTE, 10 * MINUTE, 86_400.0 * 400])
def test_one_run_makes_up_for_all_that_were_missed(down_s: float) -> None:
    world = Watched()
    add(world, cron="* * * * *")
    world.now += down_s
    world.kill()
    world.jobs.advance(world.now)
    world.turn()
    assert jobs(world) == [at(world.now - world.now % MINUTE - START_MINUTE)]
    assert len(world.skipped) == (down_s > MINUTE)
    world.change(Cancel, job_id=jobs(world)[0])
    world.sleep(MINUTE)
    assert len(jobs(world)) == 2, "and then it goes on as before"


def test_without_catch_up_what_was_missed_is_left_out() -> None:
    world = Watched()
    add(world, cron="0 * * * *", catch_up=False)
    world.now += 2.5 * 3600
    world.kill()
    world.jobs.advance(world.now)
    world.turn()
    assert jobs(world) == []
    view = act(world, "list").schedules[0]
    assert view.skipped_count == 2
    jump(world, view.next[0])
    assert len(jobs(world)) == 1


def test_without_catch_up_what_is_a_little_late_runs() -> None:
    world = Watched()
    view = add(world, cron="0 * * * *", catch_up=False)
    world.now = view.next[0] + 30
    world.kill()
    world.jobs.advance(world.now)
    world.turn()
    assert len(jobs(world)) == 1
    assert world.skipped == []


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    world = World()
    worker = world.worker()
    add(world, cron="* * * * *")
    world.sleep(MINUTE)
    worker.succeed(at(MINUTE))
    world.now -= 5 * MINUTE
    world.sleep(5.5 * MINUTE)
    assert jobs(world) == [at(MINUTE)]
    world.sleep(MINUTE)
    assert len(jobs(world)) == 2


# --- no run comes twice ---------------------------------------------------------------------------------------------


def test_a_crash_between_a_run_and_its_note_does_not_repeat_it() -> None:
    world = World()
    worker = world.worker()
    add(world, cron="* * * * *")
    world.is_lazy = True
    world.now = START_MINUTE + MINUTE
    world.jobs.advance(world.now)
    world.turn()
    while not world.disk.jobs:
        world.journal.work()
        if not world.disk.jobs:
            world.journal.answer()
            world.turn()
    assert world.disk.schedules["s"].last_at is None
    world.is_lazy = False
    world.kill()
    worker.connect()
    world.jobs.advance(world.now)
    world.turn()
    assert jobs(world) == [at(MINUTE)]
    assert world.disk.schedules["s"].last_job_id == at(MINUTE)
    world.sleep(20)
    worker.succeed(at(MINUTE))
    world.sleep(MINUTE)
    assert jobs(world) == [at(MINUTE), at(2 * MINUTE)]


def test_a_job_id_that_is_taken_leaves_the_run_out() -> None:
    world = Watched()
    world.submit(job_id=at(MINUTE))
    add(world, cron="* * * * *")
    world.sleep(MINUTE)
    assert jobs(world) == [at(MINUTE)]
    ((name, reason),) = world.skipped
    assert name == "s"
    assert reason.startswith("it was refused: job_id_conflict: ")
    world.sleep(MINUTE)
    assert len(jobs(world)) == 2


def test_a_journal_that_fails_delays_a_run() -> None:
    world = Watched()
    add(world, cron="* * * * *")
    world.journal.is_full = True
    world.sleep(MINUTE)
    assert jobs(world) == []
    world.journal.is_full = False
    world.sleep(5)
    assert jobs(world) == [at(MINUTE)]
    assert world.skipped == []


def test_a_bound_that_is_reached_leaves_runs_out() -> None:
    world = Watched(open_count_max=1, account_open_count_max=1)
    add(world, cron="* * * * *")
    job_id = world.submit()
    world.sleep(MINUTE)
    assert "overloaded" in world.skipped[0][1]
    world.change(Cancel, job_id=job_id)
    world.sleep(MINUTE)
    assert jobs(world) == [job_id, at(2 * MINUTE)]


# --- pause, resume, run, remove, list -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_restarted", [False, True])
def test_pause_and_resume(is_restarted: bool) -> None:
    world = World()
    add(world, cron="* * * * *")
    view = act(world, "pause").schedules[0]
    assert (view.is_paused, view.next) == (True, [])
    if is_restarted:
        world.kill()
    world.sleep(10 * MINUTE)
    assert jobs(world) == []
    view = act(world, "resume").schedules[0]
    assert (view.is_paused, len(view.next)) == (False, 5)
    assert act(world, "resume").schedules[0].next == view.next
    world.sleep(MINUTE)
    assert len(jobs(world)) == 1, "what it missed while it was paused is left out"


def test_run_now() -> None:
    world = World()
    worker = world.worker()
    add(world, cron="0 0 1 1 *")
    act(world, "pause")
    answer = act(world, "run")
    assert answer.job_id == jobs(world)[0]
    assert answer.schedules[0].last_job_id == answer.job_id
    assert act(world, "run")[1] == Failure("wrong_state", f"the run before has not ended: {answer.job_id}")
    worker.succeed(answer.job_id)
    world.sleep(1)
    assert act(world, "run").job_id == jobs(world)[1]


def test_run_now_of_one_that_runs_once_comes_besides() -> None:
    world = World()
    worker = world.worker()
    add(world, at=START + 100)
    worker.succeed(act(world, "run").job_id)
    world.sleep(101)
    assert len(jobs(world)) == 2


def test_run_now_while_a_run_is_being_submitted() -> None:
    world = World()
    add(world, cron="* * * * *")
    world.is_lazy = True
    asker = FakeAsker()
    for _ in range(2):
        world.jobs.schedules(asker, ScheduleAction("r", "run", "s"), world.now)
    assert asker.take()[1].text == "a run of it is just being submitted"
    world.sleep(MINUTE)  # its time comes meanwhile
    world.settle()
    by_hand = asker.take().job_id
    assert jobs(world) == [by_hand]
    world.change(Cancel, job_id=by_hand)
    world.is_lazy = False
    world.sleep(2)
    assert jobs(world) == [by_hand, at(MINUTE)]


def test_run_now_that_is_refused() -> None:
    world = World(open_count_max=1, account_open_count_max=1)
    add(world, cron="* * * * *")
    job_id = world.submit()
    assert act(world, "run")[1].code == "overloaded"
    world.change(Cancel, job_id=job_id)
    world.sleep(MINUTE)
    assert jobs(world) == [job_id, at(MINUTE)]


@pytest.mark.parametrize("action", ["pause", "remove", "replace", "postpone"])
def test_a_schedule_that_changes_while_its_run_is_being_submitted(action: str) -> None:
    world = World()
    add(world, cron="* * * * *")
    world.is_lazy = True
    world.now = START_MINUTE + MINUTE
    world.jobs.advance(world.now)
    world.turn()
    if action in {"pause", "remove"}:
        world.jobs.schedules(FakeAsker(), ScheduleAction(None, action, "s"), world.now)  # type: ignore[arg-type]
    else:
        cron = "* * * * *" if action == "replace" else "0 0 1 1 *"
        world.jobs.schedule(FakeAsker(), Schedule(name="s", command="other", cron=cron), Raw(b"2"), world.now)
    world.settle()
    world.is_lazy = False
    assert jobs(world) == [at(MINUTE)]
    world.change(Cancel, job_id=at(MINUTE))
    world.sleep(MINUTE)
    assert len(jobs(world)) == (2 if action == "replace" else 1)


@pytest.mark.parametrize("action", ["pause", "remove", "postpone"])
def test_a_schedule_that_changes_while_the_journal_fails(action: str) -> None:
    world = World()
    add(world, cron="* * * * *")
    world.is_lazy = True
    world.journal.is_full = True
    world.now = START_MINUTE + MINUTE
    world.jobs.advance(world.now)
    world.turn()
    if action == "postpone":
        message = Schedule(name="s", command="echo", cron="0 0 1 1 *")
        world.jobs.schedule(FakeAsker(), message, Raw(b"2"), world.now)
    else:
        world.jobs.schedules(FakeAsker(), ScheduleAction(None, action, "s"), world.now)  # type: ignore[arg-type]
    world.settle()
    world.is_lazy = False
    world.journal.is_full = False
    world.sleep(5)
    assert jobs(world) == []


def test_remove() -> None:
    world = World()
    add(world, cron="* * * * *")
    assert act(world, "remove").schedules[0].name == "s"
    assert act(world, "list", None).schedules == []
    assert act(world, "remove")[1] == Failure("unknown_job", "no schedule is called 's'")
    world.sleep(2 * MINUTE)
    assert jobs(world) == []
    world.kill()
    assert act(world, "list", None).schedules == []


def test_removed_and_added_again_in_one_turn() -> None:
    world = World()
    add(world, cron="* * * * *")
    asker = FakeAsker()
    world.jobs.schedules(asker, ScheduleAction(None, "remove", "s"), world.now)
    world.jobs.schedule(asker, Schedule(name="s", command="echo", every=60), Raw(b"1"), world.now)
    world.settle()
    world.kill()
    assert [view.every for view in act(world, "list", None).schedules] == [60]


def test_list_shows_those_that_one_may_see() -> None:
    world = World()
    add(world, name="b", cron="* * * * *")
    add(world, FakeAsker("bert"), name="a", every=60)
    assert [view.name for view in act(world, "list", None).schedules] == ["b"]
    everything = FakeAsker("root", sees_all=True)
    assert [view.name for view in act(world, "list", None, everything).schedules] == ["a", "b"]
    assert act(world, "pause", "a")[1].code == "unknown_job"
    assert act(world, "pause", "a", everything).schedules[0].owner == "bert"
    assert act(world, "run", None)[1] == Failure("bad_request", "name: which schedule to run?")


# --- adding, replacing, bounds --------------------------------------------------------------------------------------


def test_a_schedule_survives_a_restart() -> None:
    world = World()
    before = add(
        world, cron="*/7 17 * * fri", time_zone="Asia/Tokyo", overlap="queue", catch_up=False, target="gpu"
    )
    world.kill()
    assert act(world, "list").schedules == [before]
    world.sleep(8 * MINUTE)
    assert world.view(jobs(world)[0]).target == "gpu"


def test_adding_it_again_changes_nothing_of_its_times() -> None:
    world = World()
    add(world, every=100)
    act(world, "pause")
    world.sleep(50)
    view = add(world, every=100, priority=3)
    assert view.is_paused
    view = act(world, "resume").schedules[0]
    assert view.next[0] == START + 100, "it keeps its pace"
    world.sleep(50)
    assert world.view(jobs(world)[0]).priority == 3


def test_replacing_it_changes_its_times() -> None:
    world = World()
    add(world, every=100)
    world.sleep(50)
    assert add(world, every=30).next[0] == START + 80
    act(world, "pause")
    assert add(world, every=20).next == []


def test_a_schedule_of_another_identity_is_not_replaced() -> None:
    world = World()
    add(world, FakeAsker("bert"), every=60)
    failure = refusal(world, every=60)
    assert failure == Failure("job_id_conflict", "name: another identity has a schedule called 's'")
    assert add(world, FakeAsker("root", sees_all=True), every=30).owner == "bert"


@each_case(
    ("options", "code", "text"),
    [
        ({}, "bad_request", "exactly one of cron, every and at"),
        ({"cron": "* * * * *", "every": 60}, "bad_request", "exactly one of"),
        ({"cron": "* * * *"}, "bad_request", "five fields"),
        ({"cron": "* * * * *", "time_zone": "Mars"}, "bad_request", "no time zone is called 'Mars'"),
        ({"cron": "0 0 */29 2 MON#5"}, "bad_request", "never comes"),
        ({"at": START - 61}, "bad_request", "not in the past"),
        ({"at": START - 1}, "bad_request", "its time has passed"),
        ({"at": START + 31_536_001}, "bad_request", "at most a year from now"),
        ({"every": 60, "name": "n" * 101}, "bad_request", "a schedule's name has at most 100"),
        ({"every": 60, "data": "d" * 65_535}, "too_large", "65537 bytes; a schedule has at most 65536"),
    ],
)
def test_what_is_refused(options: dict[str, Any], code: str, text: str) -> None:
    world = World()
    failure = refusal(world, **options)
    assert failure.code == code
    assert text in failure.text


@each_case(
    "options", [{"name": "n" * 100}, {"data": "d" * 65_534}, {"at": START + 31_536_000, "every": None}]
)
def test_what_is_just_accepted(options: dict[str, Any]) -> None:
    world = World()
    message = Schedule(**{"name": "s", "command": "echo", "every": 60, **options, "data": msgspec.UNSET})
    assert isinstance(ask(world, message, data=options.get("data", 1)), Schedules)


def test_the_number_of_schedules_is_bounded() -> None:
    world = World(schedules_count_max=4)
    add(world, name="a", every=60)
    add(world, name="b", every=60)
    failure = refusal(world, name="c", every=60)
    assert failure.code == "overloaded"
    assert "anna has 2 schedules" in failure.text
    assert "schedules_count_max" in failure.text
    add(world, FakeAsker("bert"), name="c", every=60)
    add(world, FakeAsker("bert"), name="d", every=60)
    failure = refusal(world, FakeAsker("carl"), name="e", every=60)
    assert failure.text == "there are 4 schedules (schedules_count_max)"
    add(world, name="a", every=30)
    world.jobs.reconfigure(type(world.settings)(schedules_count_max=6))
    add(world, FakeAsker("carl"), name="e", every=60)


def test_a_journal_that_fails_refuses_schedules() -> None:
    world = World()
    world.journal.is_failing = True
    assert refusal(world, every=60).code == "journal_failed"


def test_a_time_zone_that_is_gone_stops_its_schedule_and_says_so() -> None:
    world = Watched()
    add(world, cron="* * * * *", time_zone="Europe/Berlin")
    add(world, name="t", every=60)
    row = world.disk.schedules["s"]
    world.disk.schedules["s"] = row._replace(terms=row.terms.replace(b"Europe/Berlin", b"Europe/Bonnnn"))
    world.kill()
    ((name, reason),) = world.skipped
    assert name == "s"
    assert "no time zone is called 'Europe/Bonnnn'" in reason
    assert act(world, "list").schedules[0].next == []
    world.sleep(2 * MINUTE)
    assert all(job_id.startswith("t@") for job_id in jobs(world))


def test_pausing_for_ever_costs_no_memory() -> None:
    world = World()
    add(world, at=START + 1000)
    for _ in range(150):
        act(world, "pause")
        act(world, "resume")
    assert len(world.jobs.timetable.clock) <= 2 + schedules_module.CLOCK_SLACK


def test_a_run_of_a_schedule_that_is_gone_ends_as_any_job() -> None:
    world = World()
    worker = world.worker()
    add(world, cron="* * * * *")
    world.sleep(MINUTE)
    act(world, "remove")
    worker.fail(at(MINUTE), retry=False)
    world.change(Retry, job_id=at(MINUTE))
    world.sleep(1)
    worker.succeed(at(MINUTE))
    assert world.change(Remove, job_id=at(MINUTE)) == 1
    world.kill()
    assert jobs(world) == []


def test_open_runs_of_a_schedule_that_is_gone_are_ignored_at_the_start() -> None:
    world = World()
    add(world, cron="* * * * *")
    world.sleep(MINUTE)
    act(world, "remove")
    world.kill()
    assert world.state(at(MINUTE)) == "accepted"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_schedule_that_is_removed_and_added_again_does_not_overlap_with_its_open_run(
    is_restarted: bool,
) -> None:
    world = World()
    worker = world.worker()
    add(world, every=60.0)
    job_id = act(world, "run").job_id
    act(world, "remove")
    if is_restarted:
        world.kill()
        worker.connect()
    add(world, every=60.0)
    _, failure = act(world, "run")
    assert failure.code == "wrong_state"
    worker.succeed(job_id)
    world.sleep(5)  # after a kill accepted jobs wait for claims
    assert act(world, "run").job_id is not None
    act(world, "remove")
    worker.succeed(next(iter(worker.running.values())).request_id)
    assert not world.jobs.timetable._left


def test_while_nothing_can_be_written_schedules_are_listed_and_not_changed() -> None:
    world = World()
    add(world, every=60.0)
    world.journal.is_full = True
    world.send()
    world.asker.sent.clear()
    for action in ("run", "pause", "resume", "remove"):
        assert act(world, action)[1].code == "journal_failed"
    assert [schedule.name for schedule in act(world, "list", None).schedules] == ["s"]
