"""The journal as plain Python: what each batch does to it, and what each query finds, by looking at every job."""

from dataclasses import dataclass, field

from taskferry.broker.jobs.ports import (
    UNIQUE_COUNT_MAX,
    CountMatching,
    Find,
    FindAfter,
    FindAttempts,
    FindHeldByKey,
    FindOverdue,
    FindUnique,
    FindWaits,
    LaneCount,
    NextFound,
    NextInLane,
    Opened,
    Opening,
    Overdue,
    PlaceInLane,
    Query,
    ReadInbox,
    Select,
    Survey,
    Waiting,
)
from taskferry.broker.jobs.rows import (
    AttemptRow,
    Batch,
    JobChange,
    JobResult,
    LaneRow,
    NewJob,
    ScheduleRow,
    StoredJob,
)
from taskferry.broker.jobs.states import ENDED, OPEN, Hold, JobState
from taskferry.protocol.job_messages import Filter


@dataclass(slots=True)
class Kept:
    """One job."""

    new: NewJob
    change: JobChange
    result: JobResult | None = None

    def stored(self, *, with_data: bool = False, result_size_bytes_max: int = 0) -> StoredJob:
        new = self.new if with_data else self.new._replace(data=b"")
        size_bytes = None if self.result is None else len(self.result.result)
        is_small = size_bytes is not None and 0 < result_size_bytes_max >= size_bytes
        return StoredJob(
            new,
            self.change,
            self.result if is_small else None,
            len(self.new.data),
            size_bytes,
        )

    @property
    def kept_size_bytes(self) -> int:
        return len(self.new.data) + (0 if self.result is None else len(self.result.result))

    @property
    def rank(self) -> tuple[int, float, int]:
        return -self.new.priority, self.change.run_at, self.new.seq


@dataclass(slots=True)
class Model:
    """All of the journal."""

    jobs: dict[int, Kept] = field(default_factory=dict)
    attempts: dict[tuple[int, int], AttemptRow] = field(default_factory=dict)
    after: set[tuple[int, int]] = field(default_factory=set)
    after_done: set[tuple[int, int]] = field(default_factory=set)
    inbox: dict[tuple[str, str, int], int] = field(default_factory=dict)
    inboxes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    lanes: dict[int, LaneRow] = field(default_factory=dict)
    schedules: dict[str, ScheduleRow] = field(default_factory=dict)
    seq_max: int = 0
    opened_count: int = 0
    closed_at: int = 0
    """How often a broker had opened it when one has stopped in order."""

    def write(self, batch: Batch) -> None:
        self.lanes.update((row.lane, row) for row in batch.lanes)
        changes = {change.seq: change for change in batch.changes}
        for new in batch.jobs:
            self.jobs[new.seq] = Kept(new, changes[new.seq])
            self.seq_max = max(self.seq_max, new.seq)
        for change in batch.changes:
            self.jobs[change.seq].change = change
        for result in batch.results:
            self.jobs[result.seq].result = result
        self.attempts.update(((row.seq, row.attempt), row) for row in batch.attempts)
        self.after.update(batch.after)
        self.after_done |= {pair for pair in self.after if pair[1] in batch.after_done}
        for row in batch.inbox:
            self.inbox[row.owner, row.client_id, row.number] = row.seq
            client = row.owner, row.client_id
            self.inboxes[client] = row.number, self.inboxes.get(client, (0, 0))[1]
        for owner, client_id, number in batch.acknowledged:
            given, acknowledged = self.inboxes.get((owner, client_id), (0, 0))
            self.inboxes[owner, client_id] = given, max(number, acknowledged)
        for owner, client_id, number in batch.acknowledged + batch.inbox_dropped:
            for gone in [key for key in self.inbox if key[:2] == (owner, client_id) and key[2] <= number]:
                del self.inbox[gone]
        for owner, client_id, number in batch.inboxes_gone:
            client = owner, client_id
            given, acknowledged = self.inboxes.pop(client, (0, 0))
            if given > number:
                self.inboxes[client] = given, acknowledged if acknowledged > number else 0
            self.inbox = {key: seq for key, seq in self.inbox.items() if key[:2] != client or key[2] > number}
        self.schedules.update((row.name, row) for row in batch.schedules)
        for name in batch.schedules_gone:
            self.schedules.pop(name, None)
        self._remove(batch.removed)
        for lane in batch.lanes_gone:
            self.lanes.pop(lane, None)
        if batch.is_last:
            self.closed_at = self.opened_count

    def _remove(self, seqs: list[int]) -> None:
        for seq in seqs:
            self.jobs.pop(seq, None)
        self.attempts = {key: row for key, row in self.attempts.items() if key[0] not in seqs}
        self.after = {pair for pair in self.after if pair[0] not in seqs}
        self.after_done = {pair for pair in self.after_done if pair[0] not in seqs}
        self.inbox = {key: seq for key, seq in self.inbox.items() if seq not in seqs}

    def answer(self, query: Query) -> object:
        match query:
            case Opening():
                return self.opened()
            case NextInLane():
                return self.next_in_lane(query)
            case Find():
                by_id = {kept.new.job_id: kept for kept in self.jobs.values()}
                return [
                    by_id[job_id].stored(
                        with_data=query.with_data, result_size_bytes_max=query.result_size_bytes_max
                    )
                    for job_id in query.job_ids
                    if job_id in by_id
                ]
            case FindUnique():
                return self.find_unique(query)
            case FindHeldByKey():
                held = self.in_state(JobState.HELD)
                held = [k for k in held if k.new.key == query.key and k.change.held == Hold.KEY]
                held.sort(key=lambda kept: (-kept.new.priority, kept.new.seq))
                return [kept.stored() for kept in held[: query.count_max]]
            case FindAfter():
                seqs = {seq for seq, waited_for in self.after if waited_for in query.seqs}
                held_seqs = [kept.new.seq for kept in self.in_state(JobState.HELD)]
                return self.waiting(
                    sorted(seq for seq in seqs if seq in held_seqs and seq > query.beyond)[: query.count_max]
                )
            case FindWaits():
                return self.waiting(sorted(query.seqs))
            case FindAttempts():
                attempts = [row for key, row in sorted(self.attempts.items()) if key[0] == query.seq]
                waits = sorted(waited_for for seq, waited_for in self.after if seq == query.seq)
                return attempts, [self.jobs[seq].new.job_id for seq in waits if seq in self.jobs]
            case Select():
                found = self.matching(query.filter, query.owner)
                found = [k for k in found if query.before is None or k.new.seq < query.before]
                return [kept.stored() for kept in found[::-1][: query.count_max]]
            case CountMatching():
                return len(self.matching(query.filter, query.owner))
            case FindOverdue():
                return self.find_overdue(query)
            case ReadInbox():
                client = query.owner, query.client_id
                messages = [
                    (key[2], seq)
                    for key, seq in sorted(self.inbox.items())
                    if key[:2] == client and key[2] > query.after
                ]
                return [(number, self.jobs[seq].stored()) for number, seq in messages[: query.count_max]]
            case Survey() | PlaceInLane():
                raise NotImplementedError("they have a test of their own")

    def in_state(self, *states: JobState) -> list[Kept]:
        return [kept for kept in self.jobs.values() if kept.change.state in states]

    def opened(self) -> Opened:
        open_jobs, ended = self.in_state(*OPEN), self.in_state(*ENDED)
        owners = {kept.new.owner for kept in open_jobs}
        held = self.in_state(JobState.HELD)
        held_seqs = {kept.new.seq for kept in held}
        waited_for = {other for seq, other in self.after if seq in held_seqs}
        lane_counts = []
        for lane in sorted({kept.new.lane for kept in self.jobs.values()}):
            jobs = [kept for kept in self.jobs.values() if kept.new.lane == lane]
            run_at = [kept.change.run_at for kept in jobs if kept.change.state == JobState.ACCEPTED]
            lane_counts.append(LaneCount(lane, len(run_at), min(run_at, default=None), len(jobs)))
        expires_at = [kept.new.expires_at for kept in open_jobs if kept.new.expires_at is not None]
        self.opened_count += 1
        was_stopped = self.closed_at == self.opened_count - 1
        remove_at = [k.change.remove_at for k in self.jobs.values() if k.change.remove_at is not None]
        return Opened(
            seq_max=self.seq_max,
            lanes=sorted(self.lanes.values()),
            lane_counts=lane_counts,
            assigned=[kept.stored() for kept in self.in_state(JobState.ASSIGNED)],
            open_counts={owner: sum(kept.new.owner == owner for kept in open_jobs) for owner in owners},
            held_count=len(self.in_state(JobState.HELD)),
            kept_counts={state: len(found) for state in ENDED if (found := self.in_state(state))},
            kept_size_bytes=sum(kept.kept_size_bytes for kept in ended),
            open_size_bytes=sum(len(kept.new.data) for kept in open_jobs),
            oldest_submitted_at=min((kept.new.submitted_at for kept in open_jobs), default=None),
            remove_at_min=min(remove_at, default=None),
            expires_at_min=min(expires_at, default=None),
            schedules=sorted(self.schedules.values()),
            inboxes=self.inboxes,
            waited_for=sorted(waited_for),
            after_due=sorted(
                {
                    other
                    for seq, other in self.after
                    if seq in held_seqs and self.waited_state(seq, other) not in OPEN
                }
            ),
            held_keys=sorted({k.new.key or "" for k in held if k.change.held & Hold.KEY}),
            schedule_runs=[
                (kept.new.schedule, kept.new.job_id, kept.new.seq)
                for kept in open_jobs
                if kept.new.schedule is not None
            ],
            was_stopped=was_stopped,
        )

    def next_in_lane(self, query: NextInLane) -> NextFound:
        lane = [kept for kept in self.in_state(JobState.ACCEPTED) if kept.new.lane == query.lane]
        later = [kept.change.run_at for kept in lane if kept.change.run_at > query.now]
        ready = [k for k in lane if k.change.run_at <= query.now and k.new.seq not in query.without]
        ready.sort(key=lambda kept: kept.rank)
        taken: list[Kept] = []
        while len(taken) < min(query.count_max, len(ready)):
            kept = ready[len(taken)]
            size_bytes = sum(len(other.new.data) for other in taken)
            if taken and size_bytes + len(kept.new.data) > query.size_bytes_max:
                break
            taken.append(kept)
        jobs = [kept.stored(with_data=True) for kept in taken]
        return NextFound(jobs, len(taken) < len(ready), min(later, default=None))

    def find_unique(self, query: FindUnique) -> list[StoredJob]:
        found: set[int] = set()
        for command, unique_key in query.keys:
            same = [
                kept
                for kept in self.jobs.values()
                if kept.new.unique_key == unique_key and self.lanes[kept.new.lane].command == command
            ]
            for is_unstarted in (True, False):
                of_kind = [kept for kept in same if kept.change.state in OPEN]
                of_kind = [kept for kept in of_kind if (kept.change.attempt == 0) is is_unstarted]
                found.update([kept.new.seq for kept in of_kind][-UNIQUE_COUNT_MAX:])
            recent = [kept.new for kept in same if kept.new.submitted_at >= query.since]
            found.update(new.seq for new in sorted(recent, key=lambda new: (new.submitted_at, new.seq))[-1:])
        return [self.jobs[seq].stored() for seq in sorted(found)]

    def waiting(self, seqs: list[int]) -> list[Waiting]:
        waits = {seq: sorted(other for waiting, other in self.after if waiting == seq) for seq in seqs}
        return [
            Waiting(self.jobs[seq].stored(), [(other, self.waited_state(seq, other)) for other in waits[seq]])
            for seq in seqs
        ]

    def waited_state(self, seq: int, other: int) -> int | None:
        if (seq, other) in self.after_done:
            return JobState.DONE
        return self.jobs[other].change.state if other in self.jobs else None

    def matching(self, selected: Filter, owner: str | None) -> list[Kept]:
        def is_match(kept: Kept) -> bool:
            new, change = kept.new, kept.change
            return (
                (owner is None or new.owner == owner)
                and (selected.owner is None or new.owner == selected.owner)
                and (selected.key is None or new.key == selected.key)
                and (selected.code is None or change.code == selected.code)
                and (selected.since is None or new.submitted_at >= selected.since)
                and (selected.until is None or new.submitted_at <= selected.until)
                and (selected.command is None or self.lanes[new.lane].command == selected.command)
                and (selected.states is None or JobState(change.state).name.lower() in selected.states)
                and (selected.job_ids is None or new.job_id in selected.job_ids)
            )

        return [kept for kept in self.jobs.values() if is_match(kept)]

    def find_overdue(self, query: FindOverdue) -> Overdue:
        ending = [
            (k.change.remove_at, k.new.seq) for k in self.jobs.values() if k.change.remove_at is not None
        ]
        removed: list[int] = []
        excess_bytes = query.excess_bytes
        for remove_at, seq in sorted(ending):
            if len(removed) < query.count_max and (remove_at <= query.now or excess_bytes > 0):
                removed.append(seq)
                excess_bytes -= self.jobs[seq].kept_size_bytes
        left = [remove_at for remove_at, seq in ending if seq not in removed]
        open_jobs = self.in_state(*OPEN)
        expiring = sorted((k.new.expires_at, k.new.seq) for k in open_jobs if k.new.expires_at is not None)
        expired = [seq for expires_at, seq in expiring if expires_at <= query.now][: query.count_max]
        return Overdue(
            [self.jobs[seq].stored() for seq in removed],
            [self.jobs[seq].stored() for seq in expired],
            min(left, default=None),
            min((expires_at for expires_at, seq in expiring if seq not in expired), default=None),
        )
