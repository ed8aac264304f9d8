"""The journal's answers to those who look at it: how many jobs are delayed, which have been ready for longest, and how
many go before one.

All of it comes from the index of accepted jobs, range by range: a lane and a priority are a range, in order of
`run_at`. So what is not asked about is never walked through, however many jobs there are.
"""

from sqlite3 import Connection
from typing import Final

import msgspec

from ...protocol.limits import PRIORITY_MAX
from ..jobs.ports import PlaceInLane, Survey

decode_ranges = msgspec.json.Decoder(list[tuple[int, int, float, int]]).decode

RANGE: Final = "state = 0 AND lane = :lane AND priority = :priority"
RANGES: Final = """
    SELECT json_group_array(json_array(lane, priority, first_at, delayed_count)) FROM (
        SELECT
            lane.lane,
            priorities.value AS priority,
            (
                SELECT min(run_at) FROM life
                WHERE state = 0 AND lane = lane.lane AND priority = priorities.value
            ) AS first_at,
            (
                SELECT count(*) FROM life
                WHERE state = 0 AND lane = lane.lane AND priority = priorities.value AND run_at > :now
            ) AS delayed_count
        FROM lane, json_each(:priorities) AS priorities
    ) WHERE first_at IS NOT NULL
"""


def survey(connection: Connection, query: Survey) -> tuple[dict[int, int], list[int]]:
    """Delayed jobs by lane; and the seqs of those that have been ready for longest, in that order."""
    priorities = msgspec.json.encode(list(range(PRIORITY_MAX + 1))).decode()
    ranges = decode_ranges(
        connection.execute(RANGES, {"now": query.now, "priorities": priorities}).fetchone()[0]
    )
    delayed_counts: dict[int, int] = {}
    for lane, _, _, delayed_count in ranges:
        if delayed_count:
            delayed_counts[lane] = delayed_counts.get(lane, 0) + delayed_count
    # Each of the ranges with an earlier first job has at least one that goes before all of a later range.
    earliest = sorted(ranges, key=lambda found: found[2])[: query.count_max]
    oldest: list[tuple[float, int]] = []
    for lane, priority, _, _ in earliest:
        oldest += connection.execute(
            f"SELECT run_at, seq FROM life WHERE {RANGE} AND run_at <= :now ORDER BY run_at, seq LIMIT :count",  # noqa: S608
            {"lane": lane, "priority": priority, "now": query.now, "count": query.count_max},
        ).fetchall()
    return delayed_counts, [seq for _, seq in sorted(oldest)[: query.count_max]]


def place_in_lane(connection: Connection, query: PlaceInLane) -> int | None:
    """How many ready jobs go before one that is ready, too."""
    found = connection.execute(
        "SELECT lane, priority, run_at FROM life WHERE seq = ? AND state = 0 AND run_at <= ?",
        (query.seq, query.now),
    ).fetchone()
    if found is None:
        return None
    lane, own_priority, run_at = found
    count = 0
    for priority in range(PRIORITY_MAX, own_priority - 1, -1):
        before = "run_at <= :now" if priority > own_priority else "(run_at, seq) < (:run_at, :seq)"
        values = {
            "lane": lane, "priority": priority, "now": query.now, "run_at": run_at, "seq": query.seq,
            "count": query.count_max - count,
        }  # fmt: skip
        count += connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM life WHERE {RANGE} AND {before} LIMIT :count)",  # noqa: S608
            values,
        ).fetchone()[0]
    return count
