"""How much one account may use, and why the defaults are what they are."""

from dataclasses import dataclass

from ..core.account import NO_BOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one account: an identity, or one stranger's address.

    `connections_count_max`: connections at once, on all ports. The default is half of what one port takes, so that no
    account can keep all others out. `messages_per_s`, `bytes_per_s`: messages and their bytes over all connections; 0
    means no limit, the default, because what a machine can handle in a second differs widely. `in_flight_count_max`:
    requests admitted and not ended; the default is half of what may wait. `waiting_size_bytes_max`: `data` of requests
    that wait for a slot; the default is half of what all may have.
    """

    connections_count_max: int = 10_000
    messages_per_s: float = 0.0
    bytes_per_s: float = 0.0
    in_flight_count_max: int = 50_000
    waiting_size_bytes_max: int = 128 * 1024 * 1024


NO_LIMITS = Limits(
    connections_count_max=NO_BOUND, in_flight_count_max=NO_BOUND, waiting_size_bytes_max=NO_BOUND
)
