"""A walk through the lives of many jobs, in which anything may be killed between any two steps, and the books of it:
what submitters were told, what workers ran, and what is on disk. Who takes the steps is left open."""

from collections import Counter
from typing import Any, Final

from taskferry.broker.core.call import Call
from taskferry.broker.core.failure import Failure
from taskferry.broker.jobs.rows import Batch
from taskferry.broker.jobs.states import ENDED, JobState
from taskferry.protocol.job_messages import Await, Changed, Filter, JobEnded, Receipt, Remove, Retry
from taskferry.protocol.job_messages import Job as ViewJob
from taskferry.protocol.messages import Cancel

from tests.unit.broker.jobs.world import FakeAsker, FakeWorker, World

COMMANDS: Final = ("echo", "resize", "send")
CODES: Final = ("handler_error", "worker_stopping", "bad_request", "unknown_command", "out_of_stock")


class Walk(World):
    """`acknowledged`: job_ids that a submitter has a receipt of. `removed`: that somebody may have removed."""

    def __init__(self, **settings: Any) -> None:
        self.acknowledged: set[str] = set()
        self.once: set[str] = set()
        self.runs: Counter[str] = Counter()
        self.results: dict[str, set[bytes]] = {}
        self.retried: set[str] = set()
        self.removing = False
        self.names_count = 0
        super().__init__(is_lazy=True, **settings)
        self.boss = FakeAsker(sees_all=True)
        self.names: list[str] = []
        self.sent_before: dict[str, tuple[str, str, dict[str, Any]]] = {}

    def start(self) -> None:
        super().start()
        write = self.journal.disk.write

        def checked(batch: Batch) -> None:
            self._check_write(batch)
            write(batch)

        self.journal.write_to_disk = checked

    # --- checks -----------------------------------------------------------------------------------------------------

    def _check_write(self, batch: Batch) -> None:
        jobs = self.disk.jobs
        ids = {kept.new.job_id for seq, kept in jobs.items() if seq not in batch.removed}
        for new in batch.jobs:
            assert new.seq not in jobs
            assert new.job_id not in ids, "one job of a name"
            assert new.lane in self.disk.lanes or new.lane in {row.lane for row in batch.lanes}
        for change in batch.changes:
            before = jobs.get(change.seq)
            if before is None or before.change.state not in ENDED:
                continue
            if change.state == before.change.state:
                continue
            assert before.new.job_id in self.retried, "only somebody by hand makes it run again"
            assert before.change.state != JobState.DONE
        for seq in batch.removed:
            assert jobs[seq].change.state in ENDED

    def began(self, worker: FakeWorker, call: Call) -> None:
        super().began(worker, call)
        kept = self.on_disk(call.request_id)
        assert kept is not None, "a job is on disk before it runs"
        assert kept.change.state not in ENDED, "what has ended does not run"
        assert bytes(call.data) == kept.new.data
        if worker.is_unwritten:
            return
        self.runs[call.request_id] += 1
        if call.request_id in self.once and call.request_id not in self.retried:
            assert self.runs[call.request_id] == 1, "at most once"
            assert kept.change.state == JobState.ASSIGNED

    def settled(self, worker_id: str, msg_id: str) -> None:
        for kept in self.disk.jobs.values():
            if kept.change.msg_id == msg_id:
                assert kept.change.state != JobState.ASSIGNED, "settled is what is on disk"
        super().settled(worker_id, msg_id)

    def on_disk(self, job_id: str) -> Any:
        return next((kept for kept in self.disk.jobs.values() if kept.new.job_id == job_id), None)

    def hear(self, asker: FakeAsker) -> None:
        """Enter what a requester was told into the books."""
        for message in asker.sent:
            match message:
                case Receipt(job_id=job_id, state=state):
                    kept = self.on_disk(job_id)
                    assert kept is not None or self.removing, "a receipt is of what is on disk"
                    self.acknowledged.add(job_id)
                    assert state
                case (str() as job_id, bytes() as result):
                    assert result in self.results[job_id]
                case JobEnded(job_id=job_id, state=state):
                    kept = self.on_disk(job_id)
                    is_so = kept is None or JobState(kept.change.state).name.lower() == state
                    assert is_so or job_id in self.retried, "an end is of what is on disk"
                case (str() as job_id, Failure() as failure):
                    assert failure.code
        asker.sent.clear()

    # --- steps of requesters ----------------------------------------------------------------------------------------

    def step_submit(self, command: str, priority: int, kind: str, delay: float, size: int) -> None:
        options: dict[str, Any] = {"priority": priority}
        data = "x" * size
        self.names_count += 1
        name = f"own-{self.names_count}"
        match kind:
            case "named":
                options["job_id"] = name
            case "again" if self.names:
                name = self.names[-1 - self.names_count % min(3, len(self.names))]
                command, data, options = self.sent_before.get(name, (command, data, {"job_id": name}))
            case "once":
                options |= {"job_id": name, "at_most_once": True}
                self.once.add(name)
            case "brief":
                options |= {"job_id": name, "expires_at": self.now + 0.5 + delay}
            case "patient":
                options |= {"job_id": name, "attempts": 2, "backoff": [0.1, 3], "timeout": 2.0}
            case "late":
                options |= {"job_id": name, "delay": delay}
            case "followed":
                options |= {"job_id": name, "receipts": True}
            case "aimed":
                options |= {"job_id": name, "target": "w1"}
        if "job_id" in options and name not in self.sent_before:
            self.names.append(name)
            self.sent_before[name] = command, data, options
        self.send(command, data, self.asker, **options)
        self.hear(self.asker)

    def step_ask(self, kind: str, number: int) -> None:
        jobs = sorted(self.disk.jobs.values(), key=lambda kept: kept.new.seq)
        if not jobs:
            return
        kept = jobs[number % len(jobs)]
        job_id = kept.new.job_id
        match kind:
            case "cancel":
                self.jobs.cancel(self.boss, Cancel("c", job_id), self.now)
            case "cancel all":
                self.jobs.cancel(self.boss, Cancel("c", filter=Filter(command="send")), self.now)
            case "retry":
                self.retried.add(job_id)
                self.jobs.retry(self.boss, Retry("c", job_id), self.now)
            case "retry all":
                self.retried |= {kept.new.job_id for kept in jobs}
                self.retried |= set(self.names)
                self.jobs.retry(self.boss, Retry("c", filter=Filter(states=["dead"])), self.now)
            case "remove":
                self.removing = True
                self.jobs.remove(self.boss, Remove("c", job_id), self.now)
            case "await":
                self.jobs.await_end(self.boss, Await(job_id, job_id, 5.0), self.now)
            case "follow":
                self.jobs.view(self.boss, ViewJob(job_id, job_id, receipts=True), self.now)
        self.turn()
        self.boss.sent = [m for m in self.boss.sent if not isinstance(m, Changed)]
        self.hear(self.boss)

    # --- steps of workers -------------------------------------------------------------------------------------------

    def step_worker(self, kind: str, name: str, concurrency: int) -> None:
        worker = self.workers.get(name)
        if worker is None:
            commands = COMMANDS if name == "w1" else COMMANDS[:2]
            self.worker(name, *commands, concurrency=concurrency)
            return
        match kind:
            case "connect":
                if worker.is_unwritten:
                    worker.lose_link()
                    worker.is_unwritten = False
                if worker.link is None:
                    worker.connect()
            case "reconnect":
                worker.is_unwritten = False
                worker.connect()
            case "lose":
                worker.lose_link()
            case "kill":
                worker.kill()
            case "leave" if worker.link is not None:
                worker.leave()
            case "stuck":
                worker.is_unwritten = True
        self.turn()

    def step_work(self, name: str, number: int, outcome: str) -> None:
        worker = self.workers.get(name)
        if worker is None or not worker.running:
            return
        running = list(worker.running.values())
        job_id = running[number % len(running)].request_id
        if outcome == "success":
            self.results.setdefault(job_id, set()).add(b"\xa6result")
            worker.succeed(job_id, "result")
        elif outcome == "progress":
            if worker.link is not None:
                worker.progress(job_id, {"progress": 0.5})
        elif outcome in {"never", "soon"}:
            worker.fail(job_id, retry=False if outcome == "never" else 0.5)
        else:
            if outcome == "unknown_command":  # it did not run
                self.runs[job_id] -= 1
            worker.fail(job_id, outcome)

    # --- steps of the broker ----------------------------------------------------------------------------------------

    def step_journal(self, kind: str) -> None:
        match kind:
            case "work":
                self.journal.work()
            case "answer":
                self.journal.answer()
            case "all":
                self.settle()
            case "full":
                self.journal.is_full = not self.journal.is_full
        self.turn()
        self.hear(self.asker)

    def step_kill(self) -> None:
        self.kill()
        self.asker.sent.clear()
        self.boss.sent.clear()

    def step_stop(self) -> None:
        """An orderly stop, after which it starts again."""
        self.journal.is_full = False
        self.sleep(1.1)
        self.settle()
        self.jobs.drain(self.now)
        self.turn()
        self.core.drain()
        self.core.stop(self.core_now)
        self.turn()
        self.settle()
        assert not any(lane.waiting for lane in self.jobs.lanes.values())
        self.jobs.close(self.now)
        self.settle()
        self.step_kill()

    def step_pause(self, seconds: float, name: str) -> None:
        """The broker stands still. A worker may answer, or be gone, before it notices."""
        self.pause(seconds)
        self.step_work(name, 0, "success")
        worker = self.workers.get(name)
        if worker is not None:
            worker.lose_link()
        self.wake_up()

    def set_clock(self, by_s: float) -> None:
        """The wall clock is set."""
        self.now += by_s
        self.jobs.clock_stepped(by_s, self.now)
        self.turn()

    def finish(self) -> None:
        """Everybody does his work: then every job must end, and the books must agree."""
        self.journal.is_full = False
        for worker in self.workers.values():
            if worker.is_unwritten:
                worker.lose_link()
                worker.is_unwritten = False
        self.settle()
        for name in ("w1", "w2"):
            if name not in self.workers:
                self.step_worker("connect", name, 5)
        for _ in range(1000):
            for worker in self.workers.values():
                if worker.link is None:
                    worker.connect()
                elif worker.link.is_leaving:
                    worker.kill()
                    worker.connect()
            self.settle()
            for worker in self.workers.values():
                for call in tuple(worker.running.values()):
                    self.results.setdefault(call.request_id, set()).add(b"\xa4last")
                    worker.succeed(call.request_id, "last")
            self.settle()
            if not self.jobs.counts.open_count:
                break
            self.sleep(max(0.1, min(self.jobs.next_at - self.now, 3600.0)))
        assert not self.jobs.counts.open_count, "every job ends"
        self.hear(self.asker)
        self.sleep(3.0)
        self.settle()
        self._check_books()

    def _check_books(self) -> None:
        assert not self.jobs.memory.by_id, "nothing keeps jobs in memory that have ended"
        for worker in self.workers.values():
            assert not worker.running
            assert not worker.ended, "all is settled"
        on_disk = {kept.new.job_id for kept in self.disk.jobs.values()}
        if not self.removing:
            assert self.acknowledged <= on_disk, "nothing that was acknowledged is lost"
        for kept in self.disk.jobs.values():
            assert kept.change.state in ENDED
            if kept.change.state == JobState.DONE:
                assert kept.result is not None
                assert kept.result.result in self.results[kept.new.job_id]
            else:
                assert kept.change.code
        states = Counter(JobState(kept.change.state) for kept in self.disk.jobs.values())
        assert {state: count for state, count in self.jobs.counts.kept.items() if count} == states
        size = sum(kept.kept_size_bytes for kept in self.disk.jobs.values())
        assert self.jobs.counts.kept_size_bytes == size
        before = self.jobs.counts
        self.step_kill()
        self.settle()
        assert self.jobs.counts.kept == before.kept
        assert self.jobs.counts.kept_size_bytes == before.kept_size_bytes
        assert self.jobs.counts.open_count == 0
