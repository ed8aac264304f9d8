"""The settings of jobs. The broker fills them from its configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobSettings:
    """`open_count_max`: open jobs, of all owners; `open_size_bytes_max`: their data, on disk. `account_open_count_max`:
    open jobs of one identity: half of all. `keep_done_s`, `keep_dead_s`: how long a job is kept after it has ended, if
    its terms do not say: a day for what went well, a week for what somebody must look at. `kept_size_bytes_max`: data
    and results of ended jobs; beyond it the oldest are removed first. `schedules_count_max`: each costs a timer and a
    row. `inbox_count_max`: messages in one client's inbox; beyond it the oldest are dropped, and the client is told.
    `adoption_s`: how long a worker whose connection was lost, or a broker that has restarted, has to come back before
    its attempts are lost; a worker waits at most 3 s between two tries to connect."""

    open_count_max: int = 10_000_000
    open_size_bytes_max: int = 16 * 1024**3
    account_open_count_max: int = 5_000_000
    keep_done_s: float = 86_400.0
    keep_dead_s: float = 604_800.0
    kept_size_bytes_max: int = 4 * 1024**3
    schedules_count_max: int = 1_000
    inbox_count_max: int = 10_000
    adoption_s: float = 4.0
