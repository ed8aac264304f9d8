"""What a load is: how much is asked, how, and of what size.

Knows figures only; knows nothing of brokers or connections.
"""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["each", "joined"]

REQUESTER_COUNT = 8
IN_FLIGHT_COUNT_PER_REQUESTER = 16
WORKER_COUNT = 4
WORKER_CONCURRENCY = 64
WARM_UP_COUNT = 4_000
REQUEST_COUNT = 40_000

# Above this size a load asks a tenth as often: at 256 KB the whole would move 40 GB through the loopback.
FULL_COUNT_SIZE_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Load:
    """`request_count` requests (one or more), each carrying `data`, after a warm-up that is not measured.

    In mode `each` a peer writes to its socket once per message, in `joined` once per batch of messages read.
    """

    data: bytes
    mode: Mode
    request_count: int
    warm_up_count: int


def load_of(data: bytes, mode: Mode, request_count: int) -> Load:
    """The load for `data`, its counts cut to a tenth for large data. A warm-up is never longer than the measure."""
    divisor = 10 if len(data) > FULL_COUNT_SIZE_BYTES_MAX else 1
    measured_count = max(1, request_count // divisor)
    return Load(data, mode, measured_count, min(WARM_UP_COUNT // divisor, measured_count))
