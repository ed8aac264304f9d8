"""An attempt that goes on at a worker which has connected again, as the worker's claim of it was judged."""

from typing import NamedTuple

from .call import Call
from .requester import Requester


class Adopted(NamedTuple):
    """The worker still runs `call`, which has an `attempt`, under `msg_id`, or has its answer ready.

    The worker serves its command. It has `timeout_s` left. `requester` is told how it ends. If the call is in flight,
    its worker has it under `msg_id` over an older connection, and its deadline stays.
    """

    msg_id: str
    requester: Requester
    call: Call
    timeout_s: float
