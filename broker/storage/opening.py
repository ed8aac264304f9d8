"""What a broker needs to know of a journal to begin: sums over all jobs, those that were assigned, the small tables."""

from sqlite3 import Connection, Error
from typing import Final, NamedTuple

from ..jobs.ports import LaneCount, Opened, Opening
from ..jobs.rows import WAITED_FOR_COUNT_MAX, LaneRow, ScheduleRow
from ..jobs.states import JobState
from .schema import OPENED, WAS_CLOSED
from .stored_jobs import in_order, stored

GROUPS: Final = (
    "SELECT lane, state, owner, count(*), sum(data_size_bytes), total(result_size_bytes), min(submitted_at), "
    "min(run_at) FROM life WHERE lane IS NOT NULL GROUP BY lane, state, owner"
)
WAITED_FOR: Final = (
    "SELECT waited_for, is_done, life.state FROM (SELECT waited_for, max(is_done) AS is_done FROM after "
    "JOIN life AS waiting USING (seq) WHERE waiting.state = 1 GROUP BY waited_for LIMIT ?) "
    "LEFT JOIN life ON life.seq = waited_for"
)
SEQ_MAX: Final = "SELECT max(value, (SELECT coalesce(max(seq), 0) FROM job)) FROM meta WHERE name = 'seq_max'"
HELD_KEYS: Final = "SELECT DISTINCT key FROM life WHERE state = 1 AND held & 2"
SCHEDULE_RUNS: Final = (
    "SELECT schedule, job_id, seq FROM life JOIN job USING (seq) "
    "WHERE state < 3 AND schedule IS NOT NULL ORDER BY seq"
)


class Group(NamedTuple):
    """The jobs of one owner that are in one state and lane."""

    lane: int
    state: int
    owner: str
    jobs_count: int
    data_size_bytes: int
    result_size_bytes: float
    submitted_at_min: float
    run_at_min: float


class Sums:
    """What the groups add up to; the names are those of Opened."""

    def __init__(self) -> None:
        self.lanes: dict[int, LaneCount] = {}
        self.open_counts: dict[str, int] = {}
        self.kept_counts: dict[int, int] = {}
        self.held_count = 0
        self.kept_size_bytes = 0
        self.open_size_bytes = 0
        self.oldest_submitted_at: float | None = None

    def add(self, group: Group) -> None:
        """Add the next one."""
        count, lane, state = group.jobs_count, group.lane, group.state
        before = self.lanes.get(lane, LaneCount(lane, 0, None, 0))
        accepted_count, run_at_min = before.accepted_count, before.run_at_min
        if state == JobState.ACCEPTED:
            accepted_count += count
            run_at_min = least(group.run_at_min, run_at_min)
        self.lanes[lane] = LaneCount(lane, accepted_count, run_at_min, before.jobs_count + count)
        if state > JobState.ASSIGNED:
            self.kept_counts[state] = self.kept_counts.get(state, 0) + count
            self.kept_size_bytes += group.data_size_bytes + int(group.result_size_bytes)
            return
        self.open_counts[group.owner] = self.open_counts.get(group.owner, 0) + count
        self.open_size_bytes += group.data_size_bytes
        self.held_count += count if state == JobState.HELD else 0
        self.oldest_submitted_at = least(group.submitted_at_min, self.oldest_submitted_at)


def least(value: float, other: float | None) -> float:
    """The lesser of the two, or the one that there is."""
    return value if other is None else min(value, other)


def opening(connection: Connection, query: Opening) -> Opened:
    """Everything that is needed to begin: one pass over `life`, and the small tables. That it was asked for is noted in
    the journal."""
    run = connection.execute
    try:
        run(OPENED)
    except Error:  # a full disk can still be read
        was_stopped = False
    else:
        was_stopped = bool(run(WAS_CLOSED).fetchone()[0])
    sums = Sums()
    for row in run(GROUPS).fetchall():
        sums.add(Group(*row))
    waited_for = run(WAITED_FOR, (WAITED_FOR_COUNT_MAX + 1,)).fetchall()
    return Opened(
        seq_max=run(SEQ_MAX).fetchone()[0],
        lanes=[LaneRow(*row) for row in run("SELECT lane, command, target FROM lane").fetchall()],
        lane_counts=list(sums.lanes.values()),
        assigned=in_order(stored(connection, "state = 2", ())),
        open_counts=sums.open_counts,
        held_count=sums.held_count,
        kept_counts=sums.kept_counts,
        kept_size_bytes=sums.kept_size_bytes,
        open_size_bytes=sums.open_size_bytes,
        oldest_submitted_at=sums.oldest_submitted_at,
        remove_at_min=earliest(connection, "remove_at", "remove_at IS NOT NULL"),
        expires_at_min=earliest(connection, "expires_at", "state < 3 AND expires_at IS NOT NULL"),
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
        was_stopped=was_stopped,
    )


def earliest(connection: Connection, column: str, where: str) -> float | None:
    """The least of a column with an index of its own."""
    found: float | None = connection.execute(f"SELECT min({column}) FROM life WHERE {where}").fetchone()[0]  # noqa: S608
    return found
