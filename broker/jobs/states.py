"""The states of a job, what can happen to it, and the table of transitions."""

import enum
from typing import Final


class JobState(enum.IntEnum):
    """Where a job is in its life. A job that was accepted and whose `run_at` has not come is 'delayed', or 'retrying'
    after a failure: both are derived. The values are stored."""

    ACCEPTED = 0
    """It waits for its time, or for a worker."""
    HELD = 1
    """It waits for something else: see Hold."""
    ASSIGNED = 2
    """A worker has an attempt of it, or had when its connection was lost and may come back with it."""
    DONE = 3
    DEAD = 4
    """It has failed for good; it may be retried by hand."""
    CANCELLED = 5


class Hold(enum.IntFlag):
    """Why a job is held; several may hold it at once. The values are stored."""

    NOTHING = 0
    AFTER = 1
    """Jobs that must be done first are not."""
    KEY = 2
    """As many jobs of its key are running as may."""


class JobEvent(enum.Enum):
    """What can happen to a job."""

    HOLD = "hold"
    RELEASE = "release"
    ASSIGN = "assign"
    """An attempt begins, or one that began before a restart is adopted."""
    RETURN = "return"
    """The attempt is over, and the job is to be tried again."""
    SUCCEED = "succeed"
    FAIL = "fail"
    """For good."""
    CANCEL = "cancel"
    RETRY = "retry"
    """By hand."""


S, E = JobState, JobEvent
TRANSITIONS: Final[dict[tuple[JobState, JobEvent], JobState]] = {
    (S.ACCEPTED, E.HOLD): S.HELD,
    (S.ACCEPTED, E.ASSIGN): S.ASSIGNED,
    (S.ACCEPTED, E.FAIL): S.DEAD,
    (S.ACCEPTED, E.CANCEL): S.CANCELLED,
    (S.HELD, E.HOLD): S.HELD,
    (S.HELD, E.RELEASE): S.ACCEPTED,
    (S.HELD, E.FAIL): S.DEAD,
    (S.HELD, E.CANCEL): S.CANCELLED,
    (S.ASSIGNED, E.ASSIGN): S.ASSIGNED,
    (S.ASSIGNED, E.RETURN): S.ACCEPTED,
    (S.ASSIGNED, E.SUCCEED): S.DONE,
    (S.ASSIGNED, E.FAIL): S.DEAD,
    (S.ASSIGNED, E.CANCEL): S.CANCELLED,
    (S.DEAD, E.RETRY): S.ACCEPTED,
    (S.CANCELLED, E.RETRY): S.ACCEPTED,
}
"""All transitions; any other event is refused with `wrong_state`, or is a bug."""
del S, E

OPEN: Final = frozenset({JobState.ACCEPTED, JobState.HELD, JobState.ASSIGNED})
ENDED: Final = frozenset({JobState.DONE, JobState.DEAD, JobState.CANCELLED})
