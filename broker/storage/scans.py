"""Lists and counts with a filter: they may have to look at every job, so they do it slice by slice.

There is no index for each field of a filter: it would cost every job. A million jobs take 0.1 s to look at, in which
nothing could be committed; between two slices the journal's thread does what waits.
"""

from sqlite3 import Connection
from typing import Any, Final

import msgspec

from ...protocol.job_messages import Filter
from ..jobs.ports import CountMatching, Select
from ..jobs.rows import StoredJob
from ..jobs.states import JobState
from .stored_jobs import encode_seqs, in_order, stored

ROWS_PER_SLICE: Final = 20_000
"""Jobs that are looked at in one go: some 3 ms."""

decode_seqs = msgspec.json.Decoder(list[int]).decode

SEQ_MAX: Final = 2**62


class Scan:
    """One query that is being answered, from the newest job to the oldest. The jobs of a list are read at its end, all
    in one step: as with any query, what was written before that is in them, and what is answered after them came later.
    A count adds up what was so slice by slice."""

    __slots__ = ("_before", "_count", "_count_max", "_rows_per_slice", "_seqs", "_values", "_where", "answer")

    def __init__(self, query: Select | CountMatching, rows_per_slice: int = ROWS_PER_SLICE) -> None:
        self.answer: int | list[StoredJob] = []
        self._where, self._values = matching(query.filter, query.owner)
        self._rows_per_slice = SEQ_MAX if query.filter.job_ids is not None else rows_per_slice
        self._before = SEQ_MAX
        self._count = 0
        self._seqs: list[int] = []
        self._count_max: int | None = None
        if isinstance(query, Select):
            self._count_max = query.count_max
            self._before = SEQ_MAX if query.before is None else query.before

    def step(self, connection: Connection) -> bool:
        """Look at the next slice. True once there is an `answer`: a number, or the jobs, newest first. Raises
        sqlite3.Error."""
        (first,) = connection.execute(
            "SELECT min(seq) FROM (SELECT seq FROM life WHERE seq < ? ORDER BY seq DESC LIMIT ?)",
            (self._before, self._rows_per_slice),
        ).fetchone()
        if first is not None:
            self._look(connection, first)
        if self._count_max is None:
            self.answer = self._count
            return first is None
        if first is not None and len(self._seqs) < self._count_max:
            return False
        found = self._read(connection)
        self.answer = found
        self._seqs = [job.new.seq for job in found]
        return first is None or len(found) == self._count_max

    def _look(self, connection: Connection, first: int) -> None:
        values = {**self._values, "first": first, "before": self._before}
        where = f"{self._where} AND seq >= :first AND seq < :before"
        self._before = first
        if self._count_max is None:
            (count,) = connection.execute(f"SELECT count(*) FROM life WHERE {where}", values).fetchone()  # noqa: S608
            self._count += count
            return
        values["left"] = self._count_max - len(self._seqs)
        page = f"SELECT seq FROM life WHERE {where} ORDER BY seq DESC LIMIT :left"  # noqa: S608
        (text,) = connection.execute(f"SELECT json_group_array(seq) FROM ({page})", values).fetchone()  # noqa: S608
        self._seqs += sorted(decode_seqs(text), reverse=True)
        if len(self._seqs) == self._count_max:
            self._before = self._seqs[-1]

    def _read(self, connection: Connection) -> list[StoredJob]:
        values = {**self._values, "seqs": encode_seqs(self._seqs).decode()}
        found = stored(connection, f"seq IN (SELECT value FROM json_each(:seqs)) AND {self._where}", values)  # noqa: S608
        return in_order(found)[::-1]


def matching(selected: Filter, owner: str | None) -> tuple[str, dict[str, Any]]:
    """A filter as a condition on `life`, and its values."""
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
    return " AND ".join(wheres), given
