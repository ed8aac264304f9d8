"""The core's settings. The broker fills them from its configuration."""

from dataclasses import dataclass

from ...protocol import limits


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Seconds, counts, bytes and shares.

    `timeout_s`: the timeout of a call that gives none. `queue_count_max`, `queue_size_bytes_max`: requests that may
    wait for a free slot, and their `data`, over all commands; a hundred thousand small requests take about 100 MB of
    memory, plus at most 256 MiB of `data`. `assigned_size_bytes_max`: `data` kept for requests that workers have, in
    case they must run again; a broker that holds as much as it may of everything stays below 1 GiB.
    `in_flight_count_max`: requests in flight on one requester's connection.
    `retries_count_max`: how often an idempotent request is assigned again after its worker was lost; a request that has
    cost three workers is itself suspect. `retries_share_max`: such retries as a share of recent requests, so that
    retries do not bury a failing fleet (Finagle's retry budget: 20 %). `hedges_share_max`: the same for hedges; hedging
    after the 95th percentile needs 5 %. `start_wait_s`: how long after the broker's start requests wait for what nobody
    serves yet; a worker tries to connect at least every 3 s.
    """

    timeout_s: float = limits.TIMEOUT_S_DEFAULT
    queue_count_max: int = 100_000
    queue_size_bytes_max: int = 256 * 1024 * 1024
    assigned_size_bytes_max: int = 256 * 1024 * 1024
    in_flight_count_max: int = limits.IN_FLIGHT_COUNT_MAX
    retries_count_max: int = 2
    retries_share_max: float = 0.2
    hedges_share_max: float = 0.05
    start_wait_s: float = 5.0
