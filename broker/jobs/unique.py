"""Jobs with a `unique` key: at most one of them is open."""

from ...protocol.messages import Submit
from ..core.failure import Failure
from .job import Job
from .rows import StoredJob
from .submission import Submission


class Unique:
    """Not there yet: every job is accepted."""

    __slots__ = ()

    def key_of(self, message: Submit) -> tuple[str, str] | None:
        """Its command and key."""
        del message
        return None

    def since(self, message: Submit, now: float) -> float:
        """Jobs that were submitted since then count although they have ended."""
        del message
        return now

    def decide(
        self, submission: Submission, found: Job | StoredJob | None, now: float
    ) -> Job | StoredJob | Failure | None:
        """What becomes of a submission, if `found` is the latest job with its key."""
        del submission, found, now
        return None
