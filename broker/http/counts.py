"""What becomes of the HTTP port's connections: plain numbers, for metrics."""

import enum


class HttpRefusalReason(enum.Enum):
    """Why a connection of the HTTP port was refused or dropped: a closed set, for counting."""

    BAD_REQUEST = "bad_request"
    """It does not speak HTTP."""
    HEAD_TOO_LARGE = "head_too_large"
    """Its request's head exceeds `head_size_bytes_max` (of HttpBounds, as the others)."""
    TLS_FAILED = "tls_failed"
    """Its TLS handshake failed."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """There were `connections_count_max`, and it had waited longest."""
    TOO_SLOW = "too_slow"
    """It did not finish its request within `request_s_max`, or did not take the answer within `answer_s_max`."""


class HttpCounts:
    """For metrics: `connections_count` are open now, `refused` have been refused or dropped, by reason."""

    __slots__ = ("connections_count", "refused")

    def __init__(self) -> None:
        self.connections_count = 0
        self.refused = dict.fromkeys(HttpRefusalReason, 0)
