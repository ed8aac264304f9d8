"""The answers to the journal's queries.

Each statement answers with one row, whose rows are text in JSON: a step of SQLite gives the GIL back, and a thousand
rows would wait for it a thousand times (see multi_row.py). Blobs are in it as hexadecimal digits, apart from large
ones, which are fetched one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from sqlite3 import Connection
from typing import Any, Final

import msgspec

from ...protocol.limits import PRIORITY_MAX
from ...protocol.messages import Filter
from ..jobs.ports import (
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
    Surveyed,
    Waiting,
)
from ..jobs.rows import (
    WAITED_FOR_COUNT_MAX,
    AttemptRow,
    JobChange,
    JobResult,
    LaneRow,
    NewJob,
    ScheduleRow,
    StoredJob,
)
from ..jobs.states import JobState
from .changes import LARGE_BYTES
from .multi_row import SIZES
from .survey import place_in_lane, survey

unpack = msgspec.msgpack.Decoder().decode
StoredText = tuple[int, str, str, str, int, int | None]
decode_stored = msgspec.json.Decoder(list[StoredText]).decode
decode_blobs = msgspec.json.Decoder(list[tuple[int, str]]).decode
decode_results = msgspec.json.Decoder(list[tuple[int, str, str]]).decode
decode_numbered = msgspec.json.Decoder(list[tuple[int, int]]).decode
decode_waits = msgspec.json.Decoder(list[tuple[int, int, int | None]]).decode
decode_pairs = msgspec.json.Decoder(list[tuple[int | None, int | None]]).decode
decode_seqs = msgspec.json.Decoder(list[int | None]).decode
encode_seqs = msgspec.json.Encoder().encode

STORED: Final = (
    "SELECT json_group_array(json_array(seq, hex(job_id), hex(job.packed), hex(life.packed), data_size_bytes, "
    "result_size_bytes)) FROM job JOIN life USING (seq) WHERE"
)
OPEN: Final = "state < 3"


def rows_of(text: str) -> list[StoredJob]:
    """The jobs in an answer of STORED, without data and results."""
    found = []
    for seq, job_id, packed, life, data_size_bytes, result_size_bytes in decode_stored(text):
        new = NewJob._make((seq, bytes.fromhex(job_id).decode(), *unpack(bytes.fromhex(packed)), b""))
        change = JobChange(seq, *unpack(bytes.fromhex(life)))
        found.append(StoredJob(new, change, None, data_size_bytes, result_size_bytes))
    return found


def stored(connection: Connection, where: str, values: Sequence[Any] | Mapping[str, Any]) -> list[StoredJob]:
    """The jobs that match, in any order."""
    return rows_of(connection.execute(f"{STORED} {where}", values).fetchone()[0])


def with_data(connection: Connection, jobs: list[StoredJob]) -> list[StoredJob]:
    """The same jobs, with their data."""
    small = [job.new.seq for job in jobs if 0 < job.data_size_bytes <= LARGE_BYTES]
    data = {
        job.new.seq: connection.execute("SELECT data FROM job WHERE seq = ?", (job.new.seq,)).fetchone()[0]
        for job in jobs
        if job.data_size_bytes > LARGE_BYTES
    }
    if small:
        text = connection.execute(
            "SELECT json_group_array(json_array(seq, hex(data))) FROM job "
            "WHERE seq IN (SELECT value FROM json_each(?))",
            (encode_seqs(small).decode(),),
        ).fetchone()[0]
        data.update((seq, bytes.fromhex(digits)) for seq, digits in decode_blobs(text))
    return [job._replace(new=job.new._replace(data=data.get(job.new.seq, b""))) for job in jobs]


def with_results(connection: Connection, jobs: list[StoredJob]) -> list[StoredJob]:
    """The same jobs, with the results of those that have one."""
    sizes = {job.new.seq: job.result_size_bytes for job in jobs if job.result_size_bytes is not None}
    small = [seq for seq, size_bytes in sizes.items() if size_bytes <= LARGE_BYTES]
    results: dict[int, JobResult] = {}
    for seq, size_bytes in sizes.items():
        if size_bytes > LARGE_BYTES:
            row = connection.execute("SELECT * FROM result WHERE seq = ?", (seq,)).fetchone()
            results[seq] = JobResult(*row)
    if small:
        text = connection.execute(
            "SELECT json_group_array(json_array(seq, encoding, hex(result))) FROM result "
            "WHERE seq IN (SELECT value FROM json_each(?))",
            (encode_seqs(small).decode(),),
        ).fetchone()[0]
        for seq, encoding, digits in decode_results(text):
            results[seq] = JobResult(seq, encoding, bytes.fromhex(digits))
    return [job._replace(result=results.get(job.new.seq)) for job in jobs]


# --- opening ----------------------------------------------------------------------------------------------------------


WAITED_FOR: Final = (
    "SELECT waited_for, is_done, life.state FROM (SELECT waited_for, max(is_done) AS is_done FROM after "
    "JOIN life AS waiting USING (seq) WHERE waiting.state = 1 GROUP BY waited_for LIMIT ?) LEFT JOIN life ON life.seq = waited_for"
)
HELD_KEYS: Final = "SELECT DISTINCT key FROM life WHERE state = 1 AND held & 2"
SCHEDULE_RUNS: Final = (
    "SELECT schedule, job_id, seq FROM life JOIN job USING (seq) "
    "WHERE state < 3 AND schedule IS NOT NULL ORDER BY seq"
)


def opening(connection: Connection, query: Opening) -> Opened:
    """Everything that is needed to begin: one pass over `life`, and the small tables."""
    run = connection.execute
    groups = run(
        "SELECT state, owner, count(*), sum(data_size_bytes), total(result_size_bytes), min(submitted_at) FROM life "
        "WHERE lane IS NOT NULL GROUP BY state, owner"
    ).fetchall()
    open_counts: dict[str, int] = {}
    kept_counts: dict[int, int] = {}
    held_count = kept_size_bytes = open_size_bytes = 0
    oldest_submitted_at: float | None = None
    for state, owner, count, data_size_bytes, result_size_bytes, submitted_at in groups:
        if state > JobState.ASSIGNED:
            kept_counts[state] = kept_counts.get(state, 0) + count
            kept_size_bytes += data_size_bytes + int(result_size_bytes)
            continue
        open_counts[owner] = open_counts.get(owner, 0) + count
        open_size_bytes += data_size_bytes
        held_count += count if state == JobState.HELD else 0
        oldest_submitted_at = min(submitted_at, oldest_submitted_at or submitted_at)
    waited_for = run(WAITED_FOR, (WAITED_FOR_COUNT_MAX + 1,)).fetchall()
    lane_counts = run(
        "SELECT lane, sum(state = 0), min(CASE state WHEN 0 THEN run_at END), count(*) FROM life "
        "WHERE lane IS NOT NULL GROUP BY lane"
    ).fetchall()
    return Opened(
        seq_max=run("SELECT max(value, (SELECT coalesce(max(seq), 0) FROM job)) FROM meta").fetchone()[0],
        lanes=[LaneRow(*row) for row in run("SELECT lane, command, target FROM lane").fetchall()],
        lane_counts=[LaneCount(*row) for row in lane_counts],
        assigned=in_order(stored(connection, "state = 2", ())),
        open_counts=open_counts,
        held_count=held_count,
        kept_counts=kept_counts,
        kept_size_bytes=kept_size_bytes,
        open_size_bytes=open_size_bytes,
        oldest_submitted_at=oldest_submitted_at,
        remove_at_min=earliest(connection, "remove_at", "remove_at IS NOT NULL"),
        expires_at_min=earliest(connection, "expires_at", f"{OPEN} AND expires_at IS NOT NULL"),
        schedules=[
            ScheduleRow(*row)._replace(is_paused=bool(row[5]))
            for row in run("SELECT * FROM schedule").fetchall()
        ],
        inboxes={(row[0], row[1]): (row[2], row[3]) for row in run("SELECT * FROM client").fetchall()},
        waited_for=[seq for seq, _, _ in waited_for],
        after_due=[
            seq for seq, is_done, state in waited_for if is_done or state is None or state > JobState.ASSIGNED
        ],
        held_keys=[row[0] for row in run(HELD_KEYS).fetchall()],
        schedule_runs=run(SCHEDULE_RUNS).fetchall(),
    )


def in_order(jobs: list[StoredJob]) -> list[StoredJob]:
    """By seq."""
    return sorted(jobs, key=lambda job: job.new.seq)


def earliest(connection: Connection, column: str, where: str) -> float | None:
    """The least of a column with an index of its own."""
    found: float | None = connection.execute(f"SELECT min({column}) FROM life WHERE {where}").fetchone()[0]  # noqa: S608
    return found


# --- lanes ------------------------------------------------------------------------------------------------------------

IN_LANE = "lane = :lane AND state = 0"
PRIORITIES = range(PRIORITY_MAX, -1, -1)
NOT_LOADED = "seq NOT IN (SELECT value FROM json_each(:without))"
READY = " UNION ALL ".join(
    f"SELECT * FROM (SELECT seq FROM life WHERE {IN_LANE} AND priority = {priority} AND run_at <= :now "  # noqa: S608
    f"AND {NOT_LOADED} ORDER BY run_at, seq LIMIT :count)"
    for priority in PRIORITIES
)
NEXT_RUN_AT = " UNION ALL ".join(
    f"SELECT * FROM (SELECT run_at FROM life WHERE {IN_LANE} AND priority = {priority} AND run_at > :now "  # noqa: S608
    f"AND {NOT_LOADED} ORDER BY run_at LIMIT 1)"
    for priority in PRIORITIES
)
"""One range of the index for each priority: what is not ready yet of a high one is never walked through."""


def next_in_lane(connection: Connection, query: NextInLane) -> NextFound:
    """The jobs of a lane that are next."""
    values = {
        "lane": query.lane,
        "now": query.now,
        "without": encode_seqs(list(query.without)).decode(),
        "count": query.count + 1,
    }
    ready = stored(connection, f"seq IN ({READY})", values)
    ready.sort(key=rank)
    jobs: list[StoredJob] = []
    size_bytes = 0
    for job in ready[: query.count]:
        size_bytes += job.data_size_bytes
        if jobs and size_bytes > query.size_bytes_max:
            break
        jobs.append(job)
    run_at_min = connection.execute(f"SELECT min(run_at) FROM ({NEXT_RUN_AT})", values).fetchone()[0]  # noqa: S608
    return NextFound(with_data(connection, jobs), len(ready) > len(jobs), run_at_min)


def rank(job: StoredJob) -> tuple[int, float, int]:
    """The order in a lane."""
    return -job.new.priority, job.change.run_at, job.new.seq


# --- by id, key, dependency -------------------------------------------------------------------------------------------


def find(connection: Connection, query: Find) -> list[StoredJob]:
    """Jobs by id."""
    found: list[StoredJob] = []
    for job_ids in portions(query.job_ids):
        found += stored(connection, f"job_id IN ({','.join('?' * len(job_ids))})", job_ids)
    if query.with_data:
        found = with_data(connection, found)
    return with_results(connection, found) if query.with_result else found


def portions(values: list[Any]) -> list[list[Any]]:
    """The values, as many at once as one statement takes, with the last one repeated up to one of a few sizes: there is
    one statement for each size."""
    some = [values[start : start + SIZES[0]] for start in range(0, len(values), SIZES[0])]
    return [part + part[-1:] * (min(s for s in SIZES if s >= len(part)) - len(part)) for part in some]


LATEST_UNIQUE: Final = ", ".join(
    f"(SELECT max(seq) FROM life WHERE unique_key = asked_key AND {which} "  # noqa: S608
    "AND lane IN (SELECT lane FROM lane WHERE command = asked_command))"
    for which in ("state < 3", "submitted_at >= since")
)


def find_unique(connection: Connection, query: FindUnique) -> list[StoredJob]:
    """Of each key the latest job that is open, and the latest that is recent enough."""
    seqs: set[int] = set()
    for keys in portions(query.keys):
        rows = ",".join(["(?,?,?)"] * len(keys))
        text = connection.execute(
            f"WITH asked (asked_command, asked_key, since) AS (VALUES {rows}) "  # noqa: S608
            f"SELECT json_group_array(json_array({LATEST_UNIQUE})) FROM asked",
            [value for key in keys for value in (*key, query.since)],
        ).fetchone()[0]
        seqs.update(seq for pair in decode_pairs(text) for seq in pair if seq is not None)
    return by_seq(connection, sorted(seqs))


def by_seq(connection: Connection, seqs: list[int]) -> list[StoredJob]:
    """These jobs, in order of their seq."""
    return in_order(
        stored(connection, "seq IN (SELECT value FROM json_each(?))", (encode_seqs(seqs).decode(),))
    )


def find_held_by_key(connection: Connection, query: FindHeldByKey) -> list[StoredJob]:
    """The first jobs that a key holds."""
    where = "seq IN (SELECT seq FROM life WHERE key = ? AND state = 1 AND held = 2 ORDER BY priority DESC, seq LIMIT ?)"
    found = stored(connection, where, (query.key, query.count))
    found.sort(key=lambda job: (-job.new.priority, job.new.seq))
    return found


WAIT_FOR_ONE: Final = (
    "SELECT * FROM (SELECT seq FROM after JOIN life USING (seq) WHERE waited_for = ? AND seq > ? AND state = 1 "
    "ORDER BY after.seq LIMIT ?)"
)


def find_after(connection: Connection, query: FindAfter) -> list[Waiting]:
    """The held jobs that wait for any of some."""
    seqs: set[int] = set()
    for some in portions(query.seqs):
        text = connection.execute(
            f"SELECT json_group_array(seq) FROM ({' UNION ALL '.join([WAIT_FOR_ONE] * len(some))})",  # noqa: S608
            [value for seq in some for value in (seq, query.beyond, query.count)],
        ).fetchone()[0]
        seqs.update(seq for seq in decode_seqs(text) if seq is not None)
    return waiting(connection, sorted(seqs)[: query.count])


def find_waits(connection: Connection, query: FindWaits) -> list[Waiting]:
    """What some jobs wait for."""
    return waiting(connection, query.seqs)


def waiting(connection: Connection, seqs: list[int]) -> list[Waiting]:
    """These jobs, with what they wait for."""
    text = connection.execute(
        "SELECT json_group_array(json_array(after.seq, waited_for, iif(is_done, ?, state))) FROM after "
        "LEFT JOIN life ON life.seq = waited_for WHERE after.seq IN (SELECT value FROM json_each(?))",
        (int(JobState.DONE), encode_seqs(seqs).decode()),
    ).fetchone()[0]
    waits: dict[int, list[tuple[int, int | None]]] = {}
    for seq, waited_for, state in sorted(decode_waits(text)):
        waits.setdefault(seq, []).append((waited_for, state))
    return [Waiting(job, waits.get(job.new.seq, [])) for job in by_seq(connection, seqs)]


def find_attempts(connection: Connection, query: FindAttempts) -> tuple[list[AttemptRow], list[str]]:
    """The failed attempts of a job, and what it waits for."""
    attempts = connection.execute("SELECT * FROM attempt WHERE seq = ? ORDER BY attempt", (query.seq,))
    rows = [AttemptRow(*row) for row in attempts.fetchall()]
    job_ids = connection.execute(
        "SELECT job_id FROM after JOIN job ON job.seq = after.waited_for WHERE after.seq = ? ORDER BY waited_for",
        (query.seq,),
    )
    return rows, [job_id for (job_id,) in job_ids.fetchall()]


# --- lists ------------------------------------------------------------------------------------------------------------


def matching(selected: Filter, owner: str | None) -> tuple[list[str], dict[str, Any]]:
    """A filter as conditions on `life`, and their values."""
    conditions = {
        "owner_seen": ("owner = :owner_seen", owner),
        "owner": ("owner = :owner", selected.owner),
        "key": ("key = :key", selected.key),
        "code": ("code = :code", selected.code),
        "since": ("submitted_at >= :since", selected.since),
        "until": ("submitted_at <= :until", selected.until),
        "command": ("lane IN (SELECT lane FROM lane WHERE command = :command)", selected.command),
    }
    given = {name: value for name, (_, value) in conditions.items() if value is not None}
    wheres = ["lane IS NOT NULL", *(conditions[name][0] for name in given)]
    if selected.states is not None:
        states = ",".join(str(int(JobState[state.upper()])) for state in selected.states)
        wheres.append(f"state IN ({states})")
    if selected.job_ids is not None:
        names = [f"id{index}" for index in range(len(selected.job_ids))]
        given.update(zip(names, selected.job_ids, strict=True))
        ids = ",".join(f":{name}" for name in names)
        wheres.append(f"seq IN (SELECT seq FROM job WHERE job_id IN ({ids}))")  # noqa: S608
    return wheres, given


def select(connection: Connection, query: Select) -> list[StoredJob]:
    """A page of the jobs that match, newest first."""
    wheres, values = matching(query.filter, query.owner)
    values["count"] = query.count
    if query.before is not None:
        wheres.append("seq < :before")
        values["before"] = query.before
    page = f"SELECT seq FROM life WHERE {' AND '.join(wheres)} ORDER BY seq DESC LIMIT :count"  # noqa: S608
    return in_order(stored(connection, f"seq IN ({page})", values))[::-1]


def count_matching(connection: Connection, query: CountMatching) -> int:
    """How many jobs match."""
    wheres, values = matching(query.filter, query.owner)
    text = f"SELECT count(*) FROM life WHERE {' AND '.join(wheres)}"  # noqa: S608
    count: int = connection.execute(text, values).fetchone()[0]
    return count


# --- what is due, inboxes ---------------------------------------------------------------------------------------------


def find_overdue(connection: Connection, query: FindOverdue) -> Overdue:
    """What is to be removed, and what has expired."""
    ended = stored(
        connection,
        "seq IN (SELECT seq FROM life WHERE remove_at IS NOT NULL ORDER BY remove_at, seq LIMIT ?)",
        (query.count + 1,),
    )
    ended.sort(key=lambda job: (job.change.remove_at or 0.0, job.new.seq))
    removed: list[StoredJob] = []
    excess_bytes = query.excess_bytes
    for job in ended[: query.count]:
        if (job.change.remove_at or 0.0) > query.now and excess_bytes <= 0:
            break
        removed.append(job)
        excess_bytes -= job.data_size_bytes + (job.result_size_bytes or 0)
    expiring = stored(
        connection,
        f"seq IN (SELECT seq FROM life WHERE {OPEN} AND expires_at IS NOT NULL ORDER BY expires_at, seq LIMIT ?)",  # noqa: S608
        (query.count + 1,),
    )
    expiring.sort(key=lambda job: (job.new.expires_at or 0.0, job.new.seq))
    expired = [job for job in expiring[: query.count] if (job.new.expires_at or 0.0) <= query.now]
    return Overdue(
        removed,
        expired,
        next((job.change.remove_at for job in ended[len(removed) :]), None),
        next((job.new.expires_at for job in expiring[len(expired) :]), None),
    )


def read_inbox(connection: Connection, query: ReadInbox) -> list[tuple[int, StoredJob]]:
    """The next messages of an inbox."""
    text = connection.execute(
        "SELECT json_group_array(json_array(number, seq)) FROM (SELECT number, seq FROM inbox "
        "WHERE owner = ? AND client_id = ? AND number > ? ORDER BY number LIMIT ?)",
        (query.owner, query.client_id, query.after, query.count),
    ).fetchone()[0]
    numbered = sorted(decode_numbered(text))
    jobs = {job.new.seq: job for job in by_seq(connection, [seq for _, seq in numbered])}
    return [(number, jobs[seq]) for number, seq in numbered]


def surveyed(connection: Connection, query: Survey) -> Surveyed:
    """Delayed jobs by lane, and the oldest that are ready."""
    delayed_counts, seqs = survey(connection, query)
    jobs = {job.new.seq: job for job in by_seq(connection, seqs)}
    return Surveyed(delayed_counts, [jobs[seq] for seq in seqs])


ANSWERS: Final[dict[type, Callable[[Connection, Any], object]]] = {
    Opening: opening,
    NextInLane: next_in_lane,
    Find: find,
    FindUnique: find_unique,
    FindHeldByKey: find_held_by_key,
    FindAfter: find_after,
    FindWaits: find_waits,
    FindAttempts: find_attempts,
    Select: select,
    CountMatching: count_matching,
    FindOverdue: find_overdue,
    ReadInbox: read_inbox,
    Survey: surveyed,
    PlaceInLane: place_in_lane,
}


def answer(connection: Connection, query: Query) -> object:
    """The answer to a query, of the form that its class says. Raises sqlite3.Error."""
    return ANSWERS[type(query)](connection, query)
