"""The tables of the journal, and how an older file becomes one of today.

A column of its own has what queries select by; all else of a row is one MessagePack value (`packed`), because what a
statement costs grows with its values: 29 columns a job took four times as long as these. `job` has what never changes,
with the data, and is never rewritten; `life` what changes, in rows so small that a million of them are read in a
fraction of a second. The partial indices hold open jobs only: what has ended costs those that wait nothing.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

APPLICATION_ID: Final = 0x54666A31
"""'Tfj1', in the header of the file, by which it is recognized as ours (`PRAGMA application_id`)."""


IS_UNSTARTED: Final = "substr(packed, 13, 1) = x'00'"
"""Of a life: its job has had no attempt. So many bytes are before that number in `packed`, and 0 is one byte. An index
has it for jobs with a unique key; a column of its own would cost all others."""


class Schema(NamedTuple):
    """`version`: `PRAGMA user_version` of a file of today. `tables`: what makes an empty file one. `upgrades`: for each
    older version the statements that make a file of it one of the next."""

    version: int
    tables: tuple[str, ...]
    upgrades: Mapping[int, tuple[str, ...]]


OPENED: Final = "INSERT INTO meta VALUES ('opened', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
CLOSED: Final = "INSERT OR REPLACE INTO meta SELECT 'closed', value FROM meta WHERE name = 'opened'"
WAS_CLOSED: Final = (
    "SELECT count(*) FROM meta AS opened JOIN meta AS closed ON closed.value = opened.value - 1 "
    "WHERE opened.name = 'opened' AND closed.name = 'closed'"
)
"""How often a broker has begun with the file, the time that made it included, and which was the last one that has
stopped in order: was it the one before this?"""
NEVER_OPENED: Final = "UPDATE meta SET value = 0 WHERE name = 'opened'"
"""The file is not made yet."""

SCHEMA: Final = Schema(
    version=1,
    tables=(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('seq_max', 0), ('probe', 0), ('opened', 1), ('closed', 0)",
        "CREATE TABLE lane (lane INTEGER PRIMARY KEY, command TEXT NOT NULL, target BLOB)",
        "CREATE INDEX lane_command ON lane (command)",
        """CREATE TABLE job (
            seq INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, packed BLOB NOT NULL, data BLOB NOT NULL
        )""",
        """CREATE TABLE life (
            seq INTEGER PRIMARY KEY, lane INTEGER, priority INTEGER, owner TEXT, key TEXT, unique_key TEXT,
            schedule TEXT, submitted_at REAL, expires_at REAL, data_size_bytes INTEGER,
            state INTEGER NOT NULL, held INTEGER NOT NULL, run_at REAL NOT NULL, remove_at REAL, code TEXT,
            result_size_bytes INTEGER, packed BLOB NOT NULL
        )""",
        "CREATE INDEX life_ready ON life (lane, priority DESC, run_at) WHERE state = 0",
        "CREATE INDEX life_held_by_key ON life (key, priority DESC) WHERE state = 1 AND held = 2",
        f"CREATE INDEX life_open_unique ON life (unique_key, {IS_UNSTARTED}) "
        "WHERE state < 3 AND unique_key IS NOT NULL",
        "CREATE INDEX life_unique ON life (unique_key, submitted_at) WHERE unique_key IS NOT NULL",
        "CREATE INDEX life_expires ON life (expires_at) WHERE state < 3 AND expires_at IS NOT NULL",
        "CREATE INDEX life_remove ON life (remove_at) WHERE remove_at IS NOT NULL",
        "CREATE TABLE result (seq INTEGER PRIMARY KEY, encoding TEXT NOT NULL, result BLOB NOT NULL)",
        """CREATE TABLE attempt (
            seq INTEGER, attempt INTEGER, worker_id TEXT, started_at REAL, ended_at REAL NOT NULL, code TEXT NOT NULL,
            error TEXT NOT NULL, PRIMARY KEY (seq, attempt)
        ) WITHOUT ROWID""",
        """CREATE TABLE after (
            waited_for INTEGER, seq INTEGER, is_done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (waited_for, seq)
        ) WITHOUT ROWID""",
        "CREATE INDEX after_waits ON after (seq)",
        """CREATE TABLE inbox (
            owner TEXT, client_id TEXT, number INTEGER, seq INTEGER NOT NULL, PRIMARY KEY (owner, client_id, number)
        ) WITHOUT ROWID""",
        "CREATE INDEX inbox_seq ON inbox (seq)",
        """CREATE TABLE client (
            owner TEXT, client_id TEXT, number INTEGER NOT NULL, acknowledged INTEGER NOT NULL,
            PRIMARY KEY (owner, client_id)
        ) WITHOUT ROWID""",
        """CREATE TABLE schedule (
            name TEXT PRIMARY KEY, owner TEXT NOT NULL, terms BLOB NOT NULL, encoding TEXT NOT NULL, data BLOB NOT NULL,
            is_paused INTEGER NOT NULL, due_at REAL, last_at REAL, last_job_id TEXT, skipped_count INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
    upgrades={},
)
"""`life.state` and `life.held` are JobState and Hold values: 0 to 2 are open, 1 is held, 2 of `held` is KEY alone."""
