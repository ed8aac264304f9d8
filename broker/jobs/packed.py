"""What the journal keeps packed into one value: what is only read back.

Not compiled (see setup.py): mypyc keeps less of annotations than msgspec needs.
"""

from msgspec import Struct

from ...protocol.job_messages import Schedule, Unique


class JobTerms(Struct, omit_defaults=True, gc=False, frozen=True):
    """The terms of a job that are only read back: see job_messages.Terms."""

    attempts: int | None = None
    backoff: float | list[float] | None = None
    timeout: float | None = None
    affinity: str | None = None
    trace: str | None = None
    key_limit: int = 1
    keep: float | None = None
    at_most_once: bool = False
    unique: Unique | None = None


class ScheduleTerms(Struct):
    """A schedule: `message` without its data, and when it was added, in seconds since 1970."""

    message: Schedule
    added_at: float
