"""What passes through all links of one kind, those that are gone included: plain numbers, for metrics.

One object for each port of a program. Its links add to it as they open, read, write and fail, so that a sum needs no
visit to every link, and a link that closes takes nothing with it.
"""

from .admission import RefusalReason


class LinkCounts:
    """Counts since the program began, except `connections_count`: connections that are open or in their handshake; one
    that was refused no longer counts. Bytes are those of the connection: frame heads, handshakes and control frames
    included, TLS not. Messages are whole data messages. `heartbeats_missed_count`: pings that a peer had not answered
    within SUSPICION_S. `handshakes_refused`: opening handshakes that this side refused or gave up, by reason."""

    __slots__ = (
        "connections_count",
        "handshakes_refused",
        "heartbeats_missed_count",
        "received_bytes_count",
        "received_count",
        "sent_bytes_count",
        "sent_count",
    )

    def __init__(self) -> None:
        self.connections_count = 0
        self.received_count = 0
        self.received_bytes_count = 0
        self.sent_count = 0
        self.sent_bytes_count = 0
        self.heartbeats_missed_count = 0
        self.handshakes_refused = dict.fromkeys(RefusalReason, 0)
