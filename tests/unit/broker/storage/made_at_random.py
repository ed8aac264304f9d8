"""Batches and queries made at random, such as the rules could make them."""

import itertools
from random import Random

from taskferry.broker.jobs.ports import (
    CountMatching,
    Find,
    FindAfter,
    FindAttempts,
    FindHeldByKey,
    FindOverdue,
    FindUnique,
    FindWaits,
    NextInLane,
    Query,
    ReadInbox,
    Select,
)
from taskferry.broker.jobs.rows import (
    AttemptRow,
    Batch,
    InboxRow,
    JobChange,
    JobResult,
    LaneRow,
    NewJob,
    ScheduleRow,
)
from taskferry.broker.jobs.states import ENDED, Hold, JobState
from taskferry.broker.storage.changes import LARGE_BYTES
from taskferry.protocol.job_messages import Filter

from .model import Model

NOW = 1_790_000_000.123456
OWNERS = ("anna", "böse\0", "")
COMMANDS = ("resize", "mail")
KEYS = (None, "k1", "k2")
CLIENTS = ("c1", "c2")
SIZES_BYTES = (0, 1, 3, 3, 50, 50, 50, 50, 50, LARGE_BYTES, LARGE_BYTES + 1)


class Maker:
    """Makes what fits a model."""

    def __init__(self, random: Random, model: Model, sizes_bytes: tuple[int, ...] = SIZES_BYTES) -> None:
        self.random = random
        self.sizes_bytes = sizes_bytes
        self.model = model
        self.seqs = itertools.count(1)

    def time(self) -> float:
        return NOW + self.random.randint(-5, 5) / 3

    def time_or_none(self) -> float | None:
        return self.random.choice((None, self.time()))

    def blob(self) -> bytes:
        return bytes([self.random.randint(0, 255)]) * self.random.choice(self.sizes_bytes)

    def new(self, job_id: str | None = None) -> NewJob:
        random, seq = self.random, next(self.seqs)
        return NewJob(
            seq,
            job_id or f"job-{seq}",
            random.choice((None, b"\0digest")),
            random.choice(sorted(self.model.lanes)),
            random.choice(OWNERS),
            random.choice((None, *CLIENTS)),
            self.time(),
            random.randint(0, 9),
            self.time_or_none(),
            random.choice(KEYS),
            random.choice(KEYS),
            random.choice((None, "nightly")),
            b"\x80\0\xff",
            random.choice(("json", "msgpack")),
            self.blob(),
        )

    def change(self, seq: int, *states: JobState) -> JobChange:
        random = self.random
        state = random.choice(states or tuple(JobState))
        has_ended = state in ENDED
        return JobChange(
            seq,
            state,
            random.choice(list(Hold)) if state is JobState.HELD else Hold.NOTHING,
            self.time(),
            random.randint(0, 9),
            random.randint(0, 9),
            random.randint(0, 3),
            random.choice((None, "k7f2q.17")),
            random.choice((None, "worker-1")),
            self.time_or_none(),
            self.time() if has_ended else None,
            self.time() if has_ended else None,
            random.choice((None, "timeout")),
            random.choice((None, 'it\0 said "no" 🙂')),
        )

    def batch(self) -> Batch:
        """Changes, and applies them to the model."""
        random, model, batch = self.random, self.model, Batch()
        if not model.lanes or random.random() < 0.1:
            lane = max(model.lanes, default=0) + 1
            batch.lanes.append(LaneRow(lane, random.choice(COMMANDS), random.choice((None, b"\x81"))))
            model.lanes[lane] = batch.lanes[0]
        used_ids = {kept.new.job_id for kept in model.jobs.values()}
        gone_ids = [f"job-{seq}" for seq in range(1, model.seq_max + 1) if f"job-{seq}" not in used_ids]
        for _ in range(random.choice((0, 1, 2, 3, 20))):
            job_id = gone_ids.pop() if gone_ids and random.random() < 0.3 else None
            new = self.new(job_id)
            batch.jobs.append(new)
            batch.changes.append(self.change(new.seq))
        known = sorted(model.jobs)
        seqs = known + [new.seq for new in batch.jobs]
        for seq in random.sample(known, min(len(known), random.choice((0, 1, 2, 5)))):
            batch.changes.append(self.change(seq))
            if random.random() < 0.5:
                batch.changes.append(self.change(seq, JobState.DONE))
                batch.results.append(JobResult(seq, "json", self.blob()))
        if random.random() < 0.7:
            self.add_rare(batch, seqs)
        model.write(batch)
        used = {kept.new.lane for kept in model.jobs.values()}
        unused = [lane for lane in model.lanes if lane not in used and len(model.lanes) > 1]
        if unused and random.random() < 0.3:
            batch.lanes_gone.append(random.choice(unused))
            del model.lanes[batch.lanes_gone[0]]
        return batch

    def add_rare(self, batch: Batch, seqs: list[int]) -> None:
        random, model = self.random, self.model
        for seq in random.sample(seqs, min(len(seqs), 3)):
            batch.attempts.append(AttemptRow(seq, random.randint(1, 3), None, None, self.time(), "lost", "…"))
            earlier = [other for other in seqs if other < seq]
            batch.after += [(seq, other) for other in random.sample(earlier, min(len(earlier), 2))]
            owner, client_id = random.choice(OWNERS), random.choice(CLIENTS)
            client = owner, client_id
            numbers = [row.number for row in batch.inbox if (row.owner, row.client_id) == client]
            number = max([*numbers, model.inboxes.get(client, (0, 0))[0]]) + 1
            batch.inbox.append(InboxRow(owner, client_id, number, seq))
        if random.random() < 0.3:
            schedule = ScheduleRow(
                random.choice("ab"),
                "anna",
                b"\x80",
                "json",
                b"{}",
                random.random() < 0.5,
                self.time(),
                None,
                None,
                3,
            )
            batch.schedules.append(schedule)
        if random.random() < 0.3:
            batch.schedules_gone.append(random.choice("ab"))
        if seqs and random.random() < 0.3:
            batch.after_done.append(random.choice(seqs))
        if random.random() < 0.3:
            client = random.choice(OWNERS), random.choice(CLIENTS)
            number = random.randint(0, model.inboxes.get(client, (0, 0))[0])
            random.choice((batch.acknowledged, batch.inbox_dropped)).append((*client, number))
        batch.is_last = random.random() < 0.1
        if random.random() < 0.1:
            client = random.choice(OWNERS), random.choice(CLIENTS)
            batch.inboxes_gone.append((*client, model.inboxes.get(client, (0, 0))[0]))
        if seqs and random.random() < 0.4:
            batch.removed += random.sample(seqs, min(len(seqs), random.choice((1, 2, 9))))

    def queries(self) -> list[Query]:
        random = self.random
        seqs = sorted(self.model.jobs)
        some = random.sample(seqs, min(len(seqs), 6))
        count = random.choice((1, 2, 5, 100))
        job_ids = [f"job-{seq}" for seq in some] + ["none such"]
        owner = random.choice((None, *OWNERS))
        filters = Filter(
            job_ids=random.choice((None, None, job_ids)),
            states=None if random.random() < 0.7 else ["accepted", "dead"],
            command=random.choice((None, None, *COMMANDS)),
            owner=random.choice((None, None, "anna")),
            key=random.choice((None, None, "k1")),
            code=random.choice((None, None, "timeout")),
            since=random.choice((None, None, NOW)),
            until=random.choice((None, None, NOW)),
        )
        client = random.choice(OWNERS), random.choice(CLIENTS)
        return [
            *(
                NextInLane(lane, count, random.choice((1, 60, 10**6)), frozenset(some), self.time())
                for lane in self.model.lanes
            ),
            Find(
                job_ids,
                with_data=random.random() < 0.5,
                result_size_bytes_max=random.choice((0, 3, 1000, 10**6)),
            ),
            FindUnique([(command, key) for command in COMMANDS for key in ("k1", "k2")], self.time()),
            FindHeldByKey("k1", count),
            FindAfter(some, random.choice((0, *some)), count),
            FindWaits(some),
            *(FindAttempts(seq) for seq in some),
            Select(filters, owner, random.choice((None, *some)), count),
            CountMatching(filters, owner),
            FindOverdue(self.time(), random.choice((0, 60, 10**6)), count),
            ReadInbox(*client, random.randint(0, 3), count),
        ]
