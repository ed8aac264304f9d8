"""Jobs as they are read back.

Each statement answers with one row, whose rows are text in JSON: a step of SQLite gives the GIL back, and a thousand
rows would wait for it a thousand times (see multi_row.py). Blobs are in it as hexadecimal digits, apart from large
ones, which are fetched one by one.
"""

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import Any, Final

import msgspec

from ..jobs.rows import JobChange, JobResult, NewJob, StoredJob
from .changes import LARGE_BYTES

unpack = msgspec.msgpack.Decoder().decode
StoredText = tuple[int, str, str, str, int, int | None]
decode_stored = msgspec.json.Decoder(list[StoredText]).decode
decode_blobs = msgspec.json.Decoder(list[tuple[int, str]]).decode
decode_results = msgspec.json.Decoder(list[tuple[int, str, str]]).decode
encode_seqs = msgspec.json.Encoder().encode

STORED: Final = (
    "SELECT json_group_array(json_array(seq, hex(job_id), hex(job.packed), hex(life.packed), data_size_bytes, "
    "result_size_bytes)) FROM job JOIN life USING (seq) WHERE"
)


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


def in_order(jobs: list[StoredJob]) -> list[StoredJob]:
    """By seq."""
    return sorted(jobs, key=lambda job: job.new.seq)


def by_seq(connection: Connection, seqs: list[int]) -> list[StoredJob]:
    """These jobs, in order of their seq."""
    return in_order(
        stored(connection, "seq IN (SELECT value FROM json_each(?))", (encode_seqs(seqs).decode(),))
    )
