"""What one transaction writes: the batches that waited, folded into one, so that each row is written once.

All that is taken away is written first, and then what is new. That is the order in which the batches said it, because
numbers of jobs and of inbox messages are never used again: what a batch takes away can only be older than what is
left of it and of those after it.
"""

from sqlite3 import Connection
from typing import Any, Final

import msgspec

from ..jobs.rows import AttemptRow, Batch, InboxRow, JobChange, JobResult, LaneRow, NewJob, ScheduleRow
from .multi_row import In, MultiRow
from .schema import CLOSED

LARGE_BYTES: Final = 65_536
"""A row whose blob is larger has a statement to itself: the values of a statement are copied when they are bound."""

JOBS = MultiRow("INSERT INTO job", 4)
LIFE_COLUMNS: Final = (
    "seq, lane, priority, owner, submitted_at, data_size_bytes, state, held, run_at, packed, "
    "key, unique_key, schedule, expires_at, remove_at, code, result_size_bytes"
)
LIVES = MultiRow(f"INSERT OR REPLACE INTO life ({LIFE_COLUMNS})", 17)
PLAIN_LIVES = MultiRow(f"INSERT OR REPLACE INTO life ({LIFE_COLUMNS.partition(', key')[0]})", 10)
CHANGES = MultiRow(
    "INSERT INTO life (seq, state, held, run_at, packed, remove_at, code, result_size_bytes)",
    8,
    "ON CONFLICT (seq) DO UPDATE SET state = excluded.state, held = excluded.held, run_at = excluded.run_at, "
    "packed = excluded.packed, remove_at = excluded.remove_at, code = excluded.code, "
    "result_size_bytes = coalesce(excluded.result_size_bytes, result_size_bytes)",
)
PLAIN_CHANGES = MultiRow(
    "INSERT INTO life (seq, state, held, run_at, packed)",
    5,
    "ON CONFLICT (seq) DO UPDATE SET state = excluded.state, held = excluded.held, run_at = excluded.run_at, "
    "packed = excluded.packed, remove_at = NULL, code = NULL",
)
"""The plain forms are for rows whose other columns are null, as most are: a row costs by its values."""

RESULTS = MultiRow("INSERT OR REPLACE INTO result", 3)
ATTEMPTS = MultiRow("INSERT OR REPLACE INTO attempt", 7)
AFTER = MultiRow("INSERT OR IGNORE INTO after", 3)
INBOX = MultiRow("INSERT OR REPLACE INTO inbox", 4)
CLIENTS = MultiRow(
    "INSERT INTO client",
    4,
    "ON CONFLICT (owner, client_id) DO UPDATE SET number = max(number, excluded.number), "
    "acknowledged = max(acknowledged, excluded.acknowledged)",
)
LANES = MultiRow("INSERT OR REPLACE INTO lane", 3)
SCHEDULES = MultiRow("INSERT OR REPLACE INTO schedule", 10)
REMOVE_JOBS = (
    In("DELETE FROM job WHERE seq"),
    In("DELETE FROM life WHERE seq"),
    In("DELETE FROM result WHERE seq"),
    In("DELETE FROM attempt WHERE seq"),
    In("DELETE FROM after WHERE seq"),
    In("DELETE FROM inbox WHERE seq"),
)
AFTER_DONE = In("UPDATE after SET is_done = 1 WHERE waited_for")
REMOVE_LANES = In("DELETE FROM lane WHERE lane")
REMOVE_SCHEDULES = In("DELETE FROM schedule WHERE name")

Client = tuple[str, str]
"""The owner and the client_id of an inbox."""

pack = msgspec.msgpack.Encoder().encode


class Changes:
    """The rows of a transaction. `count`: rows that were handed over, those that replaced each other included."""

    __slots__ = (
        "_acknowledged",
        "_after",
        "_after_done",
        "_attempts",
        "_changes",
        "_clients",
        "_inbox",
        "_inbox_gone",
        "_inboxes_gone",
        "_is_last",
        "_jobs",
        "_lanes",
        "_removed",
        "_results",
        "_schedules",
        "count",
    )

    def __init__(self) -> None:
        self.count = 0
        self._is_last = False
        self._jobs: list[NewJob] = []
        self._changes: dict[int, JobChange] = {}
        self._results: dict[int, JobResult] = {}
        self._attempts: list[AttemptRow] = []
        self._after: dict[tuple[int, int], bool] = {}
        self._after_done: set[int] = set()
        self._inbox: list[InboxRow] = []
        self._inbox_gone: dict[Client, int] = {}
        self._inboxes_gone: dict[Client, int] = {}
        self._clients: dict[Client, int] = {}
        self._acknowledged: dict[Client, int] = {}
        self._lanes: dict[int, LaneRow | None] = {}
        self._schedules: dict[str, ScheduleRow | None] = {}
        self._removed: set[int] = set()

    def add(self, batch: Batch) -> None:
        """Fold in the next batch."""
        self.count += len(batch.jobs) + len(batch.changes) + len(batch.results)
        self._jobs += batch.jobs
        for change in batch.changes:
            self._changes[change.seq] = change
        for result in batch.results:
            self._results[result.seq] = result
        if batch.lanes:
            self.count += len(batch.lanes)
            self._lanes.update((lane.lane, lane) for lane in batch.lanes)
        if batch.attempts:
            self.count += len(batch.attempts)
            self._attempts += batch.attempts
        if batch.after:
            self.count += len(batch.after)
            for pair in batch.after:
                self._after.setdefault(pair, False)
        if batch.inbox:
            self.count += len(batch.inbox)
            self._inbox += batch.inbox
            self._clients.update(((row.owner, row.client_id), row.number) for row in batch.inbox)
        if batch.schedules:
            self.count += len(batch.schedules)
            self._schedules.update((schedule.name, schedule) for schedule in batch.schedules)
        self._take_away(batch)

    def _take_away(self, batch: Batch) -> None:
        if batch.is_last:
            self.count += 1
            self._is_last = True
        if batch.after_done:
            self.count += len(batch.after_done)
            done = set(batch.after_done)
            self._after_done |= done
            self._after.update([(pair, True) for pair in self._after if pair[1] in done])
        if batch.acknowledged:
            self.count += len(batch.acknowledged)
            raise_to(self._acknowledged, batch.acknowledged)
            raise_to(self._inbox_gone, batch.acknowledged)
        if batch.inbox_dropped:
            self.count += len(batch.inbox_dropped)
            raise_to(self._inbox_gone, batch.inbox_dropped)
        if batch.inboxes_gone:
            self.count += len(batch.inboxes_gone)
            self._forget_inboxes(batch.inboxes_gone)
        if batch.removed:
            self.count += len(batch.removed)
            self._removed.update(batch.removed)
        if batch.lanes_gone:
            self.count += len(batch.lanes_gone)
            self._lanes.update((lane, None) for lane in batch.lanes_gone)
        if batch.schedules_gone:
            self.count += len(batch.schedules_gone)
            self._schedules.update((name, None) for name in batch.schedules_gone)

    def _forget_inboxes(self, inboxes: list[tuple[str, str, int]]) -> None:
        raise_to(self._inboxes_gone, inboxes)
        gone = {(owner, client_id): number for owner, client_id, number in inboxes}
        self._inbox = [row for row in self._inbox if row.number > gone.get((row.owner, row.client_id), 0)]
        for client, number in gone.items():
            for numbers in (self._clients, self._acknowledged, self._inbox_gone):
                if numbers.get(client, 0) <= number:
                    numbers.pop(client, None)

    def remove(self, seqs: list[int]) -> None:
        """Remove these jobs."""
        self._removed.update(seqs)

    def write(self, connection: Connection) -> None:
        """Write all of it, in the transaction that is open. Raises sqlite3.Error."""
        if self._removed:
            self._remove_jobs(connection)
        self._write_rest_taken(connection)
        if self._lanes:
            LANES.write(connection, flat(row for row in self._lanes.values() if row is not None))
        if self._jobs:
            self._write_jobs(connection)
        if self._changes:
            self._write_changes(connection)
        if self._results:
            self._write_results(connection)
        if self._attempts:
            ATTEMPTS.write(connection, flat(row for row in self._attempts if row.seq not in self._removed))
        if self._after_done:
            AFTER_DONE.run(connection, list(self._after_done))
        if self._after:
            pairs = self._after.items()
            AFTER.write(connection, flat((waited_for, seq, is_done) for (seq, waited_for), is_done in pairs))
        if self._clients or self._acknowledged:
            self._write_inbox(connection)
        if self._schedules:
            SCHEDULES.write(connection, flat(row for row in self._schedules.values() if row is not None))
        if self._is_last:
            connection.execute(CLOSED)

    def _remove_jobs(self, connection: Connection) -> None:
        # The highest seq is remembered, for it may be the newest job that goes.
        connection.execute(
            "UPDATE meta SET value = max(value, (SELECT coalesce(max(seq), 0) FROM job), ?) WHERE name = 'seq_max'",
            (max(self._removed),),
        )
        removed = list(self._removed)
        for statement in REMOVE_JOBS:
            statement.run(connection, removed)
        self._jobs = [new for new in self._jobs if new.seq not in self._removed]
        self._after = {pair: is_done for pair, is_done in self._after.items() if pair[0] not in self._removed}
        self._inbox = [row for row in self._inbox if row.seq not in self._removed]
        for seq in self._removed:
            self._changes.pop(seq, None)
            self._results.pop(seq, None)

    def _write_rest_taken(self, connection: Connection) -> None:
        for client, number in self._inboxes_gone.items():
            for table in ("inbox", "client"):
                connection.execute(
                    f"DELETE FROM {table} WHERE owner = ? AND client_id = ? AND number <= ?",  # noqa: S608
                    (*client, number),
                )
        for client, number in self._inbox_gone.items():
            connection.execute(
                "DELETE FROM inbox WHERE owner = ? AND client_id = ? AND number <= ?", (*client, number)
            )
        if self._lanes:
            REMOVE_LANES.run(connection, [lane for lane, row in self._lanes.items() if row is None])
        if self._schedules:
            REMOVE_SCHEDULES.run(connection, [name for name, row in self._schedules.items() if row is None])

    def _write_jobs(self, connection: Connection) -> None:
        jobs: list[Any] = []
        lives: list[Any] = []
        plain_lives: list[Any] = []
        for new in self._jobs:
            change = self._changes.pop(new.seq)
            row = new.seq, new.job_id, pack(new[2:14]), new.data
            if len(new.data) > LARGE_BYTES:
                JOBS.write(connection, row)
            else:
                jobs += row
            life = (
                new.seq,
                new.lane,
                new.priority,
                new.owner,
                new.submitted_at,
                len(new.data),
                change.state,
                change.held,
                change.run_at,
                pack(change[1:]),
            )
            rest = (
                new.key,
                new.unique_key,
                new.schedule,
                new.expires_at,
                change.remove_at,
                change.code,
                self._result_size_bytes(new.seq),
            )
            if rest == NO_REST:
                plain_lives += life
            else:
                lives += life + rest
        JOBS.write(connection, jobs)
        PLAIN_LIVES.write(connection, plain_lives)
        LIVES.write(connection, lives)

    def _write_changes(self, connection: Connection) -> None:
        values: list[Any] = []
        plain_values: list[Any] = []
        for change in self._changes.values():
            row = change.seq, change.state, change.held, change.run_at, pack(change[1:])
            result_size_bytes = self._result_size_bytes(change.seq)
            if change.remove_at is None and change.code is None and result_size_bytes is None:
                plain_values += row
            else:
                values += row
                values += (change.remove_at, change.code, result_size_bytes)
        PLAIN_CHANGES.write(connection, plain_values)
        CHANGES.write(connection, values)

    def _result_size_bytes(self, seq: int) -> int | None:
        result = self._results.get(seq)
        return None if result is None else len(result.result)

    def _write_results(self, connection: Connection) -> None:
        values: list[Any] = []
        for row in self._results.values():
            if len(row.result) > LARGE_BYTES:
                RESULTS.write(connection, row)
            else:
                values += row
        RESULTS.write(connection, values)

    def _write_inbox(self, connection: Connection) -> None:
        gone = self._inbox_gone
        INBOX.write(
            connection,
            flat(row for row in self._inbox if row.number > gone.get((row.owner, row.client_id), 0)),
        )
        given, acknowledged = self._clients, self._acknowledged
        CLIENTS.write(
            connection,
            flat(
                (*client, given.get(client, 0), acknowledged.get(client, 0))
                for client in given.keys() | acknowledged.keys()
            ),
        )


def raise_to(numbers: dict[Client, int], rows: list[tuple[str, str, int]]) -> None:
    """Raise the number of each client to the one in its row."""
    for owner, client_id, number in rows:
        client = owner, client_id
        numbers[client] = max(number, numbers.get(client, 0))


NO_REST: Final = (None,) * 7


def flat(rows: Any) -> list[Any]:
    """The values of the rows, one row after the other."""
    return [value for row in rows for value in row]
