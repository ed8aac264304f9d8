"""The answers to the journal's queries, apart from lists and counts (see scans.py)."""

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any, Final

import msgspec

from ...protocol.limits import PRIORITY_MAX
from ..jobs.ports import (
    UNIQUE_COUNT_MAX,
    Find,
    FindAfter,
    FindAttempts,
    FindHeldByKey,
    FindOverdue,
    FindUnique,
    FindWaits,
    NextFound,
    NextInLane,
    Opening,
    Overdue,
    PlaceInLane,
    Query,
    ReadInbox,
    Survey,
    Surveyed,
    Waiting,
)
from ..jobs.rows import AttemptRow, StoredJob
from ..jobs.states import JobState
from .multi_row import SIZES
from .opening import opening
from .schema import IS_UNSTARTED
from .stored_jobs import by_seq, encode_seqs, stored, with_results
from .survey import place_in_lane, survey

decode_numbered = msgspec.json.Decoder(list[tuple[int, int]]).decode
decode_candidates = msgspec.json.Decoder(list[tuple[int, int, int, int]]).decode
decode_waits = msgspec.json.Decoder(list[tuple[int, int, int | None]]).decode
decode_latest = msgspec.json.Decoder(list[list[int | None]]).decode
decode_seqs = msgspec.json.Decoder(list[int | None]).decode


# --- lanes ------------------------------------------------------------------------------------------------------------

IN_LANE: Final = "FROM life WHERE lane = :lane AND state = 0"
RUN_AT_UNIT: Final = 2**22
"""Units of a second in which `run_at` is read to put jobs in order: whole numbers, which are exact for times since
2004. As text SQLite gives 15 digits of a float."""

CANDIDATES: Final = " UNION ALL ".join(
    f"SELECT * FROM (SELECT {-priority} AS rank, CAST(run_at * {RUN_AT_UNIT} AS INTEGER) AS run_at, seq, "  # noqa: S608
    f"data_size_bytes {IN_LANE} AND priority = {priority} AND run_at <= :now ORDER BY life.run_at, seq LIMIT :count)"
    for priority in range(PRIORITY_MAX, -1, -1)
)
NEXT_RUN_AT: Final = " UNION ALL ".join(
    f"SELECT min(run_at) AS run_at {IN_LANE} AND priority = {priority} AND run_at > :now"
    for priority in range(PRIORITY_MAX + 1)
)
NEXT: Final = (
    "SELECT json_group_array(json_array(rank, run_at, seq, data_size_bytes)), "  # noqa: S608
    f"(SELECT min(run_at) FROM ({NEXT_RUN_AT})) FROM ({CANDIDATES})"
)
"""One range of the index for each priority: what is not ready yet of a high one is never walked through."""


def next_in_lane(connection: Connection, query: NextInLane) -> NextFound:
    """The jobs of a lane that are next. Those that are loaded are mostly the first of the lane: they are read, too, and
    left out here, which is cheaper than to have them left out."""
    values = {"lane": query.lane, "now": query.now, "count": query.count_max + len(query.without) + 1}
    text, run_at_min = connection.execute(NEXT, values).fetchone()
    ready = sorted(found for found in decode_candidates(text) if found[2] not in query.without)
    seqs: list[int] = []
    size_bytes = 0
    for _, _, seq, data_size_bytes in ready[: query.count_max]:
        size_bytes += data_size_bytes
        if seqs and size_bytes > query.size_bytes_max:
            break
        seqs.append(seq)
    jobs = {job.new.seq: job for job in by_seq(connection, seqs, with_data=True)}
    return NextFound([jobs[seq] for seq in seqs], len(ready) > len(seqs), run_at_min)


# --- by id, key, dependency -------------------------------------------------------------------------------------------


def find(connection: Connection, query: Find) -> list[StoredJob]:
    """Jobs by id."""
    found: list[StoredJob] = []
    for job_ids in portions(query.job_ids):
        where = f"job_id IN ({','.join('?' * len(job_ids))})"
        found += stored(connection, where, job_ids, with_data=query.with_data)
    return (
        with_results(connection, found, query.result_size_bytes_max) if query.result_size_bytes_max else found
    )


def portions(values: list[Any]) -> list[list[Any]]:
    """The values, as many at once as one statement takes, with the last one repeated up to one of a few sizes: there is
    one statement for each size."""
    some = [values[start : start + SIZES[0]] for start in range(0, len(values), SIZES[0])]
    return [part + part[-1:] * (min(s for s in SIZES if s >= len(part)) - len(part)) for part in some]


SAME_UNIQUE: Final = (
    "unique_key = asked_key AND lane IN (SELECT lane FROM lane WHERE command = asked_command)"
)
LATEST_UNIQUE: Final = ", ".join(
    [
        f"(SELECT seq FROM life WHERE state < 3 AND ({IS_UNSTARTED}) = {is_unstarted} AND {SAME_UNIQUE} "  # noqa: S608
        f"ORDER BY seq DESC LIMIT 1 OFFSET {offset})"
        for is_unstarted in (1, 0)
        for offset in range(UNIQUE_COUNT_MAX)
    ]
    + [
        f"(SELECT seq FROM life WHERE submitted_at >= since AND {SAME_UNIQUE} "  # noqa: S608
        "ORDER BY submitted_at DESC, seq DESC LIMIT 1)"
    ]
)


def find_unique(connection: Connection, query: FindUnique) -> list[StoredJob]:
    """Of each key the latest open jobs, with and without an attempt, and the most recent one."""
    seqs: set[int] = set()
    for keys in portions(query.keys):
        rows = ",".join(["(?,?,?)"] * len(keys))
        text = connection.execute(
            f"WITH asked (asked_command, asked_key, since) AS (VALUES {rows}) "  # noqa: S608
            f"SELECT json_group_array(json_array({LATEST_UNIQUE})) FROM asked",
            [value for key in keys for value in (*key, query.since)],
        ).fetchone()[0]
        seqs.update(seq for latest in decode_latest(text) for seq in latest if seq is not None)
    return by_seq(connection, sorted(seqs))


def find_held_by_key(connection: Connection, query: FindHeldByKey) -> list[StoredJob]:
    """The first jobs that a key holds."""
    where = "seq IN (SELECT seq FROM life WHERE key = ? AND state = 1 AND held = 2 ORDER BY priority DESC, seq LIMIT ?)"
    found = stored(connection, where, (query.key, query.count_max))
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
            [value for seq in some for value in (seq, query.beyond, query.count_max)],
        ).fetchone()[0]
        seqs.update(seq for seq in decode_seqs(text) if seq is not None)
    return waiting(connection, sorted(seqs)[: query.count_max])


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


# --- what is due, inboxes ---------------------------------------------------------------------------------------------


def find_overdue(connection: Connection, query: FindOverdue) -> Overdue:
    """What is to be removed, and what has expired."""
    ended = stored(
        connection,
        "seq IN (SELECT seq FROM life WHERE remove_at IS NOT NULL ORDER BY remove_at, seq LIMIT ?)",
        (query.count_max + 1,),
    )
    ended.sort(key=lambda job: (job.change.remove_at or 0.0, job.new.seq))
    removed: list[StoredJob] = []
    excess_bytes = query.excess_bytes
    for job in ended[: query.count_max]:
        if (job.change.remove_at or 0.0) > query.now and excess_bytes <= 0:
            break
        removed.append(job)
        excess_bytes -= job.data_size_bytes + (job.result_size_bytes or 0)
    expiring = stored(
        connection,
        "seq IN (SELECT seq FROM life WHERE state < 3 AND expires_at IS NOT NULL ORDER BY expires_at, seq LIMIT ?)",
        (query.count_max + 1,),
    )
    expiring.sort(key=lambda job: (job.new.expires_at or 0.0, job.new.seq))
    expired = [job for job in expiring[: query.count_max] if (job.new.expires_at or 0.0) <= query.now]
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
        (query.owner, query.client_id, query.after, query.count_max),
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
    FindOverdue: find_overdue,
    ReadInbox: read_inbox,
    Survey: surveyed,
    PlaceInLane: place_in_lane,
}


def answer(connection: Connection, query: Query) -> object:
    """The answer to a query, of the form that its class says. Raises sqlite3.Error."""
    return ANSWERS[type(query)](connection, query)
