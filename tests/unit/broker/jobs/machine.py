"""The rules of jobs against whatever Hypothesis thinks of: its steps are those of the walk, and it makes them small."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.unit.broker.jobs.walk import CODES, COMMANDS, Walk

NAMES = st.sampled_from(("w1", "w2"))
NUMBERS = st.integers(0, 20)


class JobsMachine(RuleBasedStateMachine):
    """After each turn the invariants hold; in the end every job ends, and the books agree."""

    def __init__(self) -> None:
        super().__init__()
        self.walk = Walk()

    @rule(
        command=st.sampled_from(COMMANDS),
        priority=st.sampled_from((0, 5, 9)),
        kind=st.sampled_from(
            ("plain", "named", "again", "once", "brief", "patient", "late", "followed", "aimed")
        ),
        delay=st.sampled_from((0.0, 0.1, 5.0)),
    )
    def submit(self, command: str, priority: int, kind: str, delay: float) -> None:
        self.walk.step_submit(command, priority, kind, delay, 1)

    @rule(
        kind=st.sampled_from(("cancel", "cancel all", "retry", "retry all", "remove", "await", "follow")),
        number=NUMBERS,
    )
    def ask(self, kind: str, number: int) -> None:
        self.walk.step_ask(kind, number)

    @rule(
        kind=st.sampled_from(("connect", "reconnect", "lose", "kill", "leave", "stuck")),
        name=NAMES,
        concurrency=st.sampled_from((1, 5)),
    )
    def worker(self, kind: str, name: str, concurrency: int) -> None:
        self.walk.step_worker(kind, name, concurrency)

    @rule(
        name=NAMES, number=NUMBERS, outcome=st.sampled_from(("success", "progress", "never", "soon", *CODES))
    )
    def work(self, name: str, number: int, outcome: str) -> None:
        self.walk.step_work(name, number, outcome)

    @rule(kind=st.sampled_from(("work", "answer", "all", "full")))
    def journal(self, kind: str) -> None:
        self.walk.step_journal(kind)

    @rule(seconds=st.sampled_from((0.01, 0.1, 1.0, 6.0)))
    def sleep(self, seconds: float) -> None:
        self.walk.sleep(seconds)

    @rule(by_s=st.sampled_from((-3600.0, -1.0, 1.0, 3600.0)))
    def set_clock(self, by_s: float) -> None:
        self.walk.set_clock(by_s)

    @rule(seconds=st.sampled_from((1.5, 30.0)), name=NAMES)
    def pause(self, seconds: float, name: str) -> None:
        self.walk.step_pause(seconds, name)

    @rule()
    def kill(self) -> None:
        self.walk.step_kill()

    @rule()
    def stop(self) -> None:
        self.walk.step_stop()

    def teardown(self) -> None:
        self.walk.finish()
