"""A submission, from whichever side it came."""

from ...protocol.job_messages import Submit
from .ports import Submitter


class Submission:
    """`asker`: who gets the receipt; `schedule`: whose run it is. `data` is in `encoding`
    (`json`, `msgpack`). `waits_for`: seqs of jobs that must have ended, in whatever way, before it runs."""

    __slots__ = (
        "asker",
        "client_id",
        "data",
        "encoding",
        "message",
        "owner",
        "schedule",
        "sees_all",
        "waits_for",
    )

    def __init__(
        self,
        message: Submit,
        data: bytes,
        encoding: str,
        owner: str,
        *,
        asker: Submitter,
        sees_all: bool = False,
        client_id: str | None = None,
        schedule: str | None = None,
        waits_for: list[int] | None = None,
    ) -> None:
        self.message = message
        self.data = data
        self.encoding = encoding
        self.owner = owner
        self.asker = asker
        self.sees_all = sees_all
        self.client_id = client_id
        self.schedule = schedule
        self.waits_for = [] if waits_for is None else waits_for
