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
StoredText = tuple[int, str, str, str, int, int | None, str | None]
decode_stored = msgspec.json.Decoder(list[StoredText]).decode
decode_results = msgspec.json.Decoder(list[tuple[int, str, str]]).decode
encode_seqs = msgspec.json.Encoder().encode

STORED: Final = (
    "SELECT json_group_array(json_array(seq, hex(job_id), hex(job.packed), hex(life.packed), data_size_bytes, "
    "result_size_bytes, {data})) FROM job JOIN life USING (seq) WHERE"
)
WITHOUT_DATA: Final = STORED.format(data="NULL")
WITH_DATA: Final = STORED.format(data=f"CASE WHEN data_size_bytes <= {LARGE_BYTES} THEN hex(data) END")


def stored(
    connection: Connection,
    where: str,
    values: Sequence[Any] | Mapping[str, Any],
    *,
    with_data: bool = False,
) -> list[StoredJob]:
    """The jobs that match, in any order, without their results."""
    (text,) = connection.execute(f"{WITH_DATA if with_data else WITHOUT_DATA} {where}", values).fetchone()
    found = []
    for seq, job_id, packed, life, data_size_bytes, result_size_bytes, digits in decode_stored(text):
        if digits is not None:
            data = bytes.fromhex(digits)
        elif with_data:
            (data,) = connection.execute("SELECT data FROM job WHERE seq = ?", (seq,)).fetchone()
        else:
            data = b""
        new = NewJob._make((seq, bytes.fromhex(job_id).decode(), *unpack(bytes.fromhex(packed)), data))
        change = JobChange(seq, *unpack(bytes.fromhex(life)))
        found.append(StoredJob(new, change, None, data_size_bytes, result_size_bytes))
    return found


def with_results(connection: Connection, jobs: list[StoredJob], size_bytes_max: int) -> list[StoredJob]:
    """The same jobs, with the results of those that have one that is no larger."""
    sizes = {
        job.new.seq: job.result_size_bytes
        for job in jobs
        if job.result_size_bytes is not None and job.result_size_bytes <= size_bytes_max
    }
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


def by_seq(connection: Connection, seqs: list[int], *, with_data: bool = False) -> list[StoredJob]:
    """These jobs, in order of their seq."""
    values = (encode_seqs(seqs).decode(),)
    where = "seq IN (SELECT value FROM json_each(?))"
    return in_order(stored(connection, where, values, with_data=with_data))
