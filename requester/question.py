"""What a requester asks of a broker besides requests: to keep a job, and about jobs and schedules.

A question is one message with a request_id, answered by one message, or by the failure of a response. How it travels is
in exchange.py.
"""

from enum import Enum
from typing import Any, Final, NamedTuple

from ..protocol.limits import TIMEOUT_S_DEFAULT, TIMEOUT_S_MAX

ANSWER_TIMEOUT_S_DEFAULT: Final = TIMEOUT_S_DEFAULT
"""How long a question waits for its answer, and so for a link."""

ANSWER_TIMEOUT_S_MAX: Final = TIMEOUT_S_MAX


class IfLost(Enum):
    """What a question does if its link breaks before the answer."""

    ASK_AGAIN = 1
    """It is sent again: a second one changes nothing."""
    FAIL = 2
    """It fails with ConnectionLost: asked twice it could do twice, or fail because it was done."""


class Question(NamedTuple):
    """A message and how to ask it.

    `message`: one of protocol/messages.py with a `request_id`, which is set when it is sent. `timeout_s`: for the
    answer; inf for as long as it takes. `what_may_be`: what may have become of it if no answer comes, for people.
    `waits_for_job`: the answer comes when a job has ended, so such questions have a line of their own.
    """

    message: Any
    timeout_s: float
    if_lost: IfLost
    what_may_be: str
    waits_for_job: bool = False
