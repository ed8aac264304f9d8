"""The numbers that govern the core's rules. The shell fills them from its configuration."""

from dataclasses import dataclass

from ...protocol import limits


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Seconds, counts, bytes and shares.

    `timeout_s`: a request's deadline where it names none. `queue_count_max`, `queue_size_bytes_max`: what may wait
    for a free slot, over all commands; a hundred thousand small requests take about 100 MB of memory, and 256 MiB of
    `data` may come with them. `in_flight_count_max`: live requests of one requester connection. `retries_count_max`:
    how often an idempotent request is assigned anew after its worker was lost; a request that has cost three workers
    is suspect itself. `retries_share_max`: such retries for each request of the last seconds, lest a fleet that fails
    is buried under its own past (Finagle's retry budget: 20 %). `hedges_share_max`: second copies likewise; 5 % is what
    the 95th percentile costs.
    """

    timeout_s: float = limits.TIMEOUT_S_DEFAULT
    queue_count_max: int = 100_000
    queue_size_bytes_max: int = 256 * 1024 * 1024
    in_flight_count_max: int = limits.IN_FLIGHT_COUNT_MAX
    retries_count_max: int = 2
    retries_share_max: float = 0.2
    hedges_share_max: float = 0.05
