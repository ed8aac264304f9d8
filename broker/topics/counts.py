"""What operators count of topics."""


class TopicCounts:
    """Totals since the start: events that were published while somebody had subscribed to them, that were sent, that
    were replaced by later ones while they waited (`conflated_count`), and that were dropped because they were not taken
    in time (or cannot be carried); subscribers that were closed because they took nothing."""

    __slots__ = (
        "closed_count",
        "conflated_count",
        "delivered_count",
        "dropped_count",
        "published_count",
        "recovered_count",
        "unrecovered_count",
    )

    def __init__(self) -> None:
        self.published_count = 0
        self.delivered_count = 0
        self.conflated_count = 0
        self.dropped_count = 0
        self.closed_count = 0
        self.recovered_count = 0
        """Topics of subscribers that have come back and missed nothing; and those with a gap."""
        self.unrecovered_count = 0
