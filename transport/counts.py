"""What has passed through all links of one kind, those that are gone included: plain numbers, for whoever shows them.

One object for each port of a program, which its links add to as they read, write and fail: so nobody has to look at
every link to know a sum, and a link that closes takes nothing with it.
"""

from .handshake import Refusal


class LinkCounts:
    """Counts since the program began. Bytes are those of the connection: frames' heads, handshakes and control frames
    included, TLS not. Messages are whole data messages. `heartbeats_missed_count`: pings that a peer had not answered
    within SUSPICION_S. `handshakes_refused`: opening handshakes that this side refused or gave up, by why."""

    __slots__ = (
        "handshakes_refused",
        "heartbeats_missed_count",
        "received_bytes_count",
        "received_count",
        "sent_bytes_count",
        "sent_count",
    )

    def __init__(self) -> None:
        self.received_count = 0
        self.received_bytes_count = 0
        self.sent_count = 0
        self.sent_bytes_count = 0
        self.heartbeats_missed_count = 0
        self.handshakes_refused = dict.fromkeys(Refusal, 0)
