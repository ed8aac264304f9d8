"""What a load is: how many requests, of what size, by how many peers, and how they are sent."""

from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["each", "joined"]
Encoding = Literal["json", "msgpack"]

REQUESTER_COUNT = 8
IN_FLIGHT_COUNT_PER_REQUESTER = 16
WORKER_COUNT = 4
WORKER_CONCURRENCY = 64
WARM_UP_COUNT = 2_000
REQUEST_COUNT = 20_000


@dataclass(frozen=True, slots=True)
class Load:
    """`request_count` requests (one or more), each carrying `data` (JSON), after a warm-up that is not measured.

    In mode `each` a peer writes to its socket once per message, in `joined` once per batch of messages read. Peers of
    one kind take the `encodings` in turn, requests the `commands`, all of which every worker serves. `timeout_s` is
    sent with every request; None leaves it to the broker.
    """

    data: bytes
    mode: Mode = "each"
    request_count: int = REQUEST_COUNT
    warm_up_count: int = WARM_UP_COUNT
    requester_count: int = REQUESTER_COUNT
    in_flight_count_per_requester: int = IN_FLIGHT_COUNT_PER_REQUESTER
    worker_count: int = WORKER_COUNT
    worker_concurrency: int = WORKER_CONCURRENCY
    commands: tuple[str, ...] = ("echo",)
    encodings: tuple[Encoding, ...] = ("json",)
    timeout_s: float | None = None

    @property
    def encoding(self) -> Encoding:
        """The encoding of the first peer of a kind; of a load made by `for_peer`, that of the peer."""
        return self.encodings[0]

    def for_peer(self, index: int) -> "Load":
        """The same load as the requester or worker of this index, from 0, sees it: with one encoding."""
        return replace(self, encodings=(self.encodings[index % len(self.encodings)],))

    def shortened(self, share: float) -> "Load":
        """The same load with `share` (in (0, 1]) of its requests; at least one."""
        return replace(
            self,
            request_count=max(1, round(self.request_count * share)),
            warm_up_count=max(1, round(self.warm_up_count * share)),
        )
